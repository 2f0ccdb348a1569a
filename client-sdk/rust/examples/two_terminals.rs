//! A chat between two terminals: what one types, both see. Kill the server meanwhile: nothing is lost or doubled.
//!
//! `cargo run -p hubbub-client --example two_terminals -- ws://127.0.0.1:8080 TOKEN room:42`

use std::{env, io, thread};

use hubbub_client::{ChannelName, Client, Event, Message, StreamExt, SubscribeOptions};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [url, token, room] = env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: URL TOKEN CHANNEL")?;
    let room = ChannelName::parse(&room)?;
    let client = Client::builder(url).token(token).name("two-terminals/1").connect();
    let mut events = client.subscribe(room.clone(), SubscribeOptions::default()).await?;

    // Reading a terminal blocks: it gets a thread of its own, which ends with the program.
    let (typed, mut lines) = mpsc::channel(1);
    thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| typed.blocking_send(line)));

    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => {
                    client.publish(Message::encode(room.clone(), &line)?).await?;
                }
                None => break,
            },
            event = events.next() => match event {
                Some(Event::Entry(entry)) => match rmp_serde::from_slice::<String>(&entry.payload) {
                    Ok(text) => println!("{}: {text}", entry.publisher),
                    Err(_) => println!("{}: ({} bytes)", entry.publisher, entry.payload.len()),
                },
                Some(Event::Subscribed(how)) => println!("-- listening, recovered: {:?}", how.recovered),
                Some(Event::Skip(skip)) => println!("-- {} entries are not sent", skip.count),
                Some(Event::Presence(_)) => {}
                Some(Event::Ended(why)) => return Err(why.message.into()),
                None => break,
            },
        }
    }
    client.close().await;
    Ok(())
}
