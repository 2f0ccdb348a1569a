//! An instance in a process of its own, which can be killed.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use super::{
    Doors, SECRET, Server,
    client::{Client, Request},
};

/// Killed when it is dropped.
pub struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Another instance of `server`'s cluster.
    pub async fn beside(server: &Server) -> Self {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // What names services to tests is no configuration.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBBUB_")) {
            command.env_remove(name);
        }
        for setting in server.ground().settings().into_iter().chain([format!("http.listen={address}"), format!("auth.secret={SECRET}")]) {
            command.arg("--set").arg(setting);
        }
        let process = Self { child: command.spawn().unwrap(), address };
        let mut client = Client::new(&[address]);
        for _ in 0..50 {
            if client.ask(&Request::get("/readyz")).await.is_ok_and(|answer| answer.status() == 200) {
                return process;
            }
        }
        panic!("it does not start");
    }

    /// Sessions here, POSTs and polls at `server`.
    pub fn doors_by(&self, server: &Server) -> Doors {
        Doors { down: self.address, up: vec![server.address()] }
    }

    /// Without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
