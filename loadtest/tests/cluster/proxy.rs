//! A TCP proxy that can break the network between an instance and a service.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// How soon a carrier notices that the road has changed.
const LOOK: Duration = Duration::from_millis(20);

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// They pass.
    Open,
    /// They wait: neither end hears that anything is wrong.
    Stalled,
    /// Connections break, and new ones too.
    Cut,
}

/// Listens on an address of its own until the test's process ends.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    road: Road,
    target: SocketAddr,
    /// Connections of an earlier age are broken.
    age: u32,
    /// Connections of an age before this one are not even that: nobody hears of them again.
    lost: u32,
}

impl Proxy {
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { road: Road::Open, target, age: 0, lost: 0 }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub fn set(&self, road: Road) {
        let mut state = self.state.lock().unwrap();
        state.road = road;
        state.age += u32::from(road == Road::Cut);
    }

    /// The connections that there are say nothing more, and do not end; new ones are whole. As when a host vanishes and another takes over.
    pub fn lose_connections(&self) {
        let mut state = self.state.lock().unwrap();
        state.age += 1;
        state.lost = state.age;
    }

    /// What comes from now on goes to another address; connections to the old one break.
    pub fn lead_to(&self, target: SocketAddr) {
        let mut state = self.state.lock().unwrap();
        state.target = target;
        state.age += 1;
    }
}

fn serve(client: TcpStream, state: &Arc<Mutex<State>>) {
    let State { road, target, age, .. } = *state.lock().unwrap();
    if road == Road::Cut {
        return;
    }
    // Where nobody listens, the client's connection breaks too.
    let Ok(server) = TcpStream::connect(target) else { return };
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let shared = state.clone();
    let other = thread::spawn(move || carry(from, to, &shared, age));
    carry(server, client, state, age);
    let _ = other.join();
}

/// Carries bytes one way until an end is closed or the road is cut; then both ways end.
fn carry(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>, age: u32) {
    let _ = (from.set_nodelay(true), to.set_nodelay(true), from.set_read_timeout(Some(LOOK)));
    let mut bytes = vec![0; 64 << 10];
    let mut held = 0;
    loop {
        let now = *state.lock().unwrap();
        if now.age != age && age >= now.lost {
            break;
        }
        if age < now.lost || now.road == Road::Stalled {
            thread::sleep(LOOK);
            continue;
        }
        if to.write_all(&bytes[..held]).is_err() {
            break;
        }
        held = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => 0,
            Err(_) => break,
        };
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
