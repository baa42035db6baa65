//! A service of one test's own, which it may kill and start again; see `tests/services/services.py one`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Stopped, with its data, when it is dropped.
pub struct Service {
    starter: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    variables: BTreeMap<String, String>,
}

impl Service {
    /// `kafka`, `mariadb`, … Ready when this returns.
    pub fn start(name: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/services.py");
        let mut command = Command::new("python3");
        command.arg(script).args(["one", name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut starter = command.spawn().unwrap();
        let orders = starter.stdin.take();
        let answers = BufReader::new(starter.stdout.take().unwrap());
        let mut started = Self { starter, orders, answers, variables: BTreeMap::new() };
        started.variables = serde_json::from_str(&started.answer(name)).unwrap();
        started
    }

    /// Its address, under the name that the variable of the shared service has.
    pub fn variable(&self, name: &str) -> &str {
        &self.variables[name]
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.order("kill");
    }

    /// SIGTERM.
    pub fn stop(&mut self) {
        self.order("stop");
    }

    /// After `kill` or `stop`: on the same port, with the same data.
    pub fn start_again(&mut self) {
        self.order("start");
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        assert_eq!(self.answer(order), "done");
    }

    fn answer(&mut self, to: &str) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{to}: the service did not start or end, see above");
        line.trim().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The end of its input is the order to clean up.
        drop(self.orders.take());
        let _ = self.starter.wait();
    }
}
