//! Who listens to what, and who publishes next.

use std::sync::Arc;

use crate::drive::{Role, Speech};

/// Subscribers, in one channel or in rooms.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// All in one channel; one more connection publishes.
    Broadcast {
        /// How many.
        subscribers: u32,
    },
    /// Rooms of equal size (the last one may be smaller); members publish in turn.
    Rooms {
        /// How many in all.
        members: u32,
        /// How many in one room.
        size: u32,
    },
}

/// One publish to be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// The connection that publishes.
    pub link: usize,
    /// The number of the channel.
    pub room: usize,
    /// How many connections receive it.
    pub subscribers: u32,
}

impl Shape {
    /// Rooms if there is a size of one.
    pub fn new(subscribers: u32, rooms_of: Option<u32>) -> Self {
        match rooms_of {
            Some(size) => Shape::Rooms { members: subscribers, size },
            None => Shape::Broadcast { subscribers },
        }
    }

    /// The names of the channels.
    pub fn channels(self, speech: &Speech) -> Vec<Arc<str>> {
        let rooms = match self {
            Shape::Broadcast { .. } => 1,
            Shape::Rooms { members, size } => members.div_ceil(size),
        };
        (0..rooms as usize).map(|room| speech.channel(room).into()).collect()
    }

    /// One role for each connection, in the order in which [`Turn::link`] counts.
    pub fn roles(self, channels: &[Arc<str>]) -> Vec<Role> {
        match self {
            Shape::Broadcast { subscribers } => {
                let members = (0..subscribers).map(|_| Role::Member(channels[0].clone()));
                members.chain([Role::Publisher]).collect()
            }
            Shape::Rooms { members, size } => (0..members).map(|member| Role::Member(channels[(member / size) as usize].clone())).collect(),
        }
    }

    /// Publish number `turn`: round the rooms, and in each room round its members.
    pub fn turn(self, turn: u64) -> Turn {
        match self {
            Shape::Broadcast { subscribers } => Turn { link: subscribers as usize, room: 0, subscribers },
            Shape::Rooms { members, size } => {
                let rooms = u64::from(members.div_ceil(size));
                let room = (turn % rooms) as u32;
                let subscribers = size.min(members - room * size);
                let member = (turn / rooms % u64::from(subscribers)) as u32;
                Turn { link: (room * size + member) as usize, room: room as usize, subscribers }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_take_turns_and_so_do_their_members() {
        let shape = Shape::new(5, Some(2));
        let turns: Vec<_> = (0..6).map(|turn| shape.turn(turn)).map(|turn| (turn.room, turn.link, turn.subscribers)).collect();
        assert_eq!(turns, [(0, 0, 2), (1, 2, 2), (2, 4, 1), (0, 1, 2), (1, 3, 2), (2, 4, 1)]);
    }

    #[test]
    fn every_link_of_a_turn_has_a_role() {
        for shape in [Shape::new(5, Some(2)), Shape::new(5, None)] {
            let channels = shape.channels(&Speech::Floor);
            let roles = shape.roles(&channels);
            for turn in (0..20).map(|turn| shape.turn(turn)) {
                let listeners = roles.iter().filter(|role| matches!(role, Role::Member(name) if *name == channels[turn.room])).count();
                assert!(turn.link < roles.len());
                assert_eq!(listeners, turn.subscribers as usize);
            }
        }
    }
}
