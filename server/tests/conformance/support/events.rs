//! Server-Sent Events as they come (HTML, section 9.2).

use super::client::Response;

/// What stands between two blank lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    pub event: Option<String>,
    pub data: Option<String>,
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub comments: usize,
}

/// A stream of them.
pub struct Events {
    response: Response,
    buffer: Vec<u8>,
}

impl Events {
    pub fn of(response: Response) -> Self {
        Self { response, buffer: Vec::new() }
    }

    /// The next block; `None` when the stream has ended. One that is cut off is none.
    pub async fn next(&mut self) -> Option<Block> {
        let mut searched = 0_usize;
        loop {
            let from = searched.saturating_sub(1);
            if let Some(end) = self.buffer[from..].windows(2).position(|two| two == b"\n\n") {
                let rest = self.buffer.split_off(from + end + 2);
                let text = String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap();
                return Some(block(&text));
            }
            searched = self.buffer.len();
            self.buffer.extend_from_slice(&self.response.chunk().await?);
        }
    }
}

fn block(text: &str) -> Block {
    let mut block = Block::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => block.comments += 1,
            "event" => block.event = Some(value),
            "data" => assert_eq!(block.data.replace(value), None, "a frame has one line: {text}"),
            "id" => block.id = Some(value),
            "retry" => block.retry = Some(value.parse().unwrap()),
            other => panic!("a field that is none: {other}"),
        }
    }
    block
}
