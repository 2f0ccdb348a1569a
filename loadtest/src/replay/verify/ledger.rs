//! What was published, and what is known of its place.

use hubbub_protocol::{Cursor, MessageId};

use super::{ChannelIndex, RowNumber, Violation, bits::Bits};

/// 48 bytes a row.
#[derive(Debug)]
struct Record {
    message_id: MessageId,
    /// A hash of the payload's bytes.
    digest: u64,
    /// Seq 0: nobody has told yet.
    place: Cursor,
    channel: ChannelIndex,
}

/// Every row of a run that was sent, in the order of the file.
#[derive(Debug)]
pub struct Ledger {
    rows: Vec<Record>,
    acknowledged: Bits,
    /// The highest place that was acknowledged, for each channel.
    heads: Vec<Cursor>,
    publishers: u32,
}

/// A publish that is on its way.
#[derive(Debug)]
pub struct Ticket {
    /// The row.
    pub row: RowNumber,
    /// What had been acknowledged in its channel when it left: its place must be after this.
    after: Cursor,
}

impl Ledger {
    /// Nothing is published yet in `channels` channels by `publishers` publishers, who take rows in turn.
    pub fn new(channels: usize, publishers: u32) -> Self {
        Self { rows: Vec::new(), acknowledged: Bits::default(), heads: vec![Cursor::default(); channels], publishers }
    }

    /// Notes that the next row leaves. Must come before anybody can see it.
    pub fn submit(&mut self, channel: ChannelIndex, message_id: MessageId, digest: u64) -> Ticket {
        self.rows.push(Record { message_id, digest, place: Cursor::default(), channel });
        Ticket { row: self.rows.len() as u64 - 1, after: self.heads[channel as usize] }
    }

    /// Notes what the publisher was told.
    pub fn acknowledge(&mut self, ticket: &Ticket, message_id: MessageId, place: Option<Cursor>) -> Vec<Violation> {
        let row = ticket.row;
        self.acknowledged.insert(row);
        let mut found = Vec::new();
        if self.rows[row as usize].message_id != message_id {
            found.push(Violation::WrongMessageId(row));
        }
        let Some(place) = place else {
            found.push(Violation::NoPlace(row));
            return found;
        };
        found.extend(self.place(row, place));
        if place.epoch == ticket.after.epoch && place.seq <= ticket.after.seq {
            found.push(Violation::AcknowledgedOutOfOrder { row, seq: place.seq, after: ticket.after.seq });
        }
        let head = &mut self.heads[self.rows[row as usize].channel as usize];
        if (place.epoch, place.seq) > (head.epoch, head.seq) {
            *head = place;
        }
        found
    }

    /// Compares what a subscriber saw of `row` with what was published; the first who tells a place is believed.
    pub(super) fn compare(
        &mut self,
        row: RowNumber,
        channel: ChannelIndex,
        id: Option<MessageId>,
        digest: u64,
        place: Cursor,
    ) -> Vec<Violation> {
        let Some(record) = self.rows.get(row as usize) else { return vec![Violation::Unpublished(row)] };
        let mut found = Vec::new();
        if record.channel != channel {
            found.push(Violation::WrongChannel(row));
        }
        if id != Some(record.message_id) {
            found.push(Violation::WrongMessageId(row));
        }
        if digest != record.digest {
            found.push(Violation::WrongContent(row));
        }
        found.extend(self.place(row, place));
        found
    }

    fn place(&mut self, row: RowNumber, place: Cursor) -> Option<Violation> {
        let told = &mut self.rows[row as usize].place;
        if told.seq == 0 {
            *told = place;
        }
        (*told != place).then_some(Violation::WrongPlace { row, told: *told, found: place })
    }

    /// The publisher of `row`.
    pub(super) fn publisher(&self, row: RowNumber) -> u32 {
        (row % u64::from(self.publishers)) as u32
    }

    /// How many publishers there are.
    pub(super) fn publishers(&self) -> usize {
        self.publishers as usize
    }

    /// How many channels there are.
    pub(super) fn channels(&self) -> usize {
        self.heads.len()
    }

    /// Every acknowledged row, with its channel and place.
    pub(super) fn acknowledged_rows(&self) -> impl Iterator<Item = (RowNumber, ChannelIndex, Cursor)> + '_ {
        let rows = self.rows.iter().enumerate().map(|(row, record)| (row as u64, record.channel, record.place));
        rows.filter(|(row, ..)| self.acknowledged.contains(*row))
    }
}
