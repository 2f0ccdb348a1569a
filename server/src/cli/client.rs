//! `hubbub publish` and `hubbub tail`: users of a running server, by the SDK like any other.

use std::{
    io::{Read, Write},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use futures_util::StreamExt;
use hubbub_client::{Client, Event, Message, SubscribeOptions};
use hubbub_protocol::{ChannelName, Cursor, Format, Key, MessageId, ServerFrame, frame::Slow, msgpack_payload};

/// How long a first connection may take.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
struct Server {
    /// The server
    #[arg(long, env = "HUBBUB_URL", default_value = "ws://127.0.0.1:8080")]
    url: String,
    /// A token: `hubbub token --user NAME` prints one
    #[arg(long, env = "HUBBUB_TOKEN", hide_env_values = true)]
    token: String,
}

impl Server {
    async fn connect(&self) -> anyhow::Result<Client> {
        let client = Client::builder(&self.url).token(self.token.clone()).name(concat!("hubbub-cli/", env!("CARGO_PKG_VERSION"))).connect();
        let nobody = || format!("no connection to {}", self.url);
        tokio::time::timeout(PATIENCE, client.ready()).await.with_context(nobody)?.with_context(nobody)?;
        Ok(client)
    }
}

#[derive(Debug, Args)]
pub(super) struct Publish {
    #[command(flatten)]
    server: Server,
    /// The channel, for example room:1
    channel: String,
    /// A JSON value; `-` reads it from standard input
    payload: String,
    /// What the message is about
    #[arg(long)]
    key: Option<String>,
    /// A UUID of version 7; publishing again with it changes nothing
    #[arg(long)]
    message_id: Option<String>,
}

impl Publish {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let channel = ChannelName::parse(&self.channel)?;
        let mut json = self.payload;
        if json == "-" {
            json.clear();
            std::io::stdin().read_to_string(&mut json)?;
        }
        let payload = msgpack_payload(&json).context("the payload is not JSON; text needs quotes of its own: '\"hello\"'")?;
        let mut message = Message::new(channel, payload.into());
        if let Some(key) = self.key {
            message = message.key(Key::parse(&key)?);
        }
        if let Some(id) = self.message_id {
            message = message.message_id(MessageId::parse(&id).context("--message-id is not a UUID of version 7")?);
        }
        let client = self.server.connect().await?;
        let published = client.publish(message).await?;
        println!("{}", serde_json::to_string(&published)?);
        client.close().await;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    server: Server,
    /// Channels, for example room:1
    #[arg(required = true)]
    channels: Vec<String>,
    /// Begin after this cursor, EPOCH:SEQ; 0:0 is the first entry
    #[arg(long, value_parser = cursor)]
    since: Option<Cursor>,
    /// Get only the newest entry of each key whenever this end is slow
    #[arg(long)]
    latest: bool,
    /// End after so many entries
    #[arg(long)]
    count: Option<u64>,
}

impl Tail {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.server.connect().await?;
        let mut subscriptions = Vec::new();
        for channel in &self.channels {
            let options = SubscribeOptions { since: self.since, slow: self.latest.then_some(Slow::Latest), ..Default::default() };
            let subscription =
                client.subscribe(ChannelName::parse(channel)?, options).await.with_context(|| format!("no subscription to {channel}"))?;
            let channel = subscription.channel().clone();
            subscriptions.push(subscription.map(move |event| (channel.clone(), event)));
        }
        let mut events = futures_util::stream::select_all(subscriptions);
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let (channel, event) = tokio::select! {
                event = events.next() => match event {
                    Some(event) => event,
                    None => bail!("every subscription has ended"),
                },
                _ = tokio::signal::ctrl_c() => break,
            };
            match event {
                Event::Entry(entry) => {
                    print_line(&ServerFrame::Entry(entry))?;
                    left -= 1;
                }
                Event::Skip(skip) => print_line(&ServerFrame::Skip(skip))?,
                Event::Presence(change) => print_line(&ServerFrame::Presence(change))?,
                Event::Subscribed(subscribed) => eprintln!("hubbub: subscribed: {}", serde_json::to_string(&subscribed)?),
                Event::Ended(error) => eprintln!("hubbub: {channel} has ended: {}", error.message),
            }
        }
        client.close().await;
        Ok(())
    }
}

fn print_line(frame: &ServerFrame) -> anyhow::Result<()> {
    let mut line = Vec::new();
    frame.encode(Format::Json, &mut line);
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    match out.write_all(&line).and_then(|()| out.flush()) {
        // Whoever read has had enough: `| head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

fn cursor(text: &str) -> anyhow::Result<Cursor> {
    let (epoch, seq) = text.split_once(':').context("a cursor is EPOCH:SEQ")?;
    Ok(Cursor { epoch: epoch.parse()?, seq: seq.parse()? })
}
