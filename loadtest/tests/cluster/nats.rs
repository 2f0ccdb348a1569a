//! A NATS server of the test's own, that can be killed and started again where it was.

use std::{
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use crate::{
    common::{free_address, wait_until},
    postgres::service,
};

pub struct Nats {
    pub address: SocketAddr,
    child: Child,
}

impl Nats {
    pub fn start() -> Self {
        let address = free_address();
        Self { address, child: spawn(address) }
    }

    /// `kill -9`; nobody answers at its address until `start_again`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(self.address);
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn spawn(address: SocketAddr) -> Child {
    let child = Command::new(service("HUBBUB_TEST_NATS_SERVER"))
        .args(["--addr", &address.ip().to_string(), "--port", &address.port().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("NATS listens", || TcpStream::connect(address).is_ok());
    child
}
