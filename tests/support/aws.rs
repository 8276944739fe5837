//! AWS as a test scripts it: an HTTP server that answers by a function, and what goes wrong on the way
//! to it. What it answers is told by each of its services, as in `route53`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use flipside::pointer::aws::{Aws, AwsPlan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::backends::until;

/// The key that tests give; servers of tests look at no signature.
pub const KEY: [&str; 2] = ["AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG"];

/// Gives a command this key, and credentials from nowhere else.
pub fn dress(command: &mut Command) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
        .env("AWS_CONFIG_FILE", "/nowhere/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", KEY[0])
        .env("AWS_SECRET_ACCESS_KEY", KEY[1]);
}

/// AWS at an endpoint.
pub fn at(endpoint: &str, home: &'static str) -> Aws {
    let plan = AwsPlan {
        endpoint: Some(endpoint.to_owned()),
        ..AwsPlan::default()
    };
    Aws::new(plan, Some(home)).unwrap().with_key(KEY[0], KEY[1])
}

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn query(&self, key: &str) -> Option<&str> {
        let found = self.query.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    pub fn header(&self, key: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.as_str())
    }

    pub fn changes(&self) -> bool {
        self.method == "POST"
    }

    pub fn asks(&self) -> bool {
        self.method == "GET"
    }
}

/// One answer: a status and what it says.
pub type Answer = (u16, String);

/// A refusal as most of AWS's services write it.
pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>request-of-the-test</RequestId></ErrorResponse>"
    );
    (status, body)
}

/// What a request meets.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing.
    Passes,
    /// This answer, and nothing is done.
    Says(Answer),
    /// The connection is cut, and nothing is done.
    Cut,
    /// It is done, and the connection is cut before the answer.
    CutAfter,
    /// As that, and from then on nothing is answered.
    Dark,
    /// It waits, before anything is done.
    Held(Held),
    /// It is done, and its answer waits.
    HeldAfter(Held),
}

/// A request that waits.
pub use super::held::Gate as Held;

/// Which requests meet it, and how many yet.
struct Rule {
    of: fn(&Asked) -> bool,
    times: usize,
    fault: Fault,
}

type Service = dyn Fn(&Asked) -> Answer + Send + Sync;

struct Inner {
    service: Box<Service>,
    rules: Mutex<Vec<Rule>>,
    asked: Mutex<Vec<Asked>>,
    dark: watch::Sender<bool>,
}

/// A server that is ended when it is dropped.
pub struct FakeAws {
    pub at: SocketAddr,
    inner: Arc<Inner>,
    end: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap()
}

impl FakeAws {
    pub async fn start(service: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner {
            service: Box::new(service),
            rules: Mutex::default(),
            asked: Mutex::default(),
            dark: watch::Sender::new(false),
        });
        let end = Arc::default();
        Self {
            at: listener.local_addr().unwrap(),
            task: Some(serve(listener, Arc::clone(&inner), Arc::clone(&end))),
            end,
            inner,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The next requests of a kind, so many, meet this.
    pub fn fault(&self, of: fn(&Asked) -> bool, times: usize, fault: Fault) {
        lock(&self.inner.rules).push(Rule { of, times, fault });
    }

    /// Nothing goes wrong any more.
    pub fn heals(&self) {
        lock(&self.inner.rules).clear();
    }

    /// The next request of a kind waits: before it is done, or before its answer.
    pub fn hold(&self, of: fn(&Asked) -> bool, fault: fn(Held) -> Fault) -> Held {
        let held = Held::default();
        self.fault(of, 1, fault(held.clone()));
        held
    }

    /// What was asked of it, in order.
    pub fn heard(&self) -> Vec<Asked> {
        lock(&self.inner.asked).clone()
    }

    /// How many requests of a kind came.
    pub fn count(&self, of: fn(&Asked) -> bool) -> usize {
        lock(&self.inner.asked)
            .iter()
            .filter(|asked| of(asked))
            .count()
    }

    /// Down: nobody listens, and nobody is listened to. What waits is not done any more.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            self.end.notify_one();
            task.await.unwrap();
        }
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.inner.dark.send_replace(false);
        let at = self.at;
        let listener = until("its port", async || TcpListener::bind(at).await.ok()).await;
        let (inner, end) = (Arc::clone(&self.inner), Arc::clone(&self.end));
        self.task = Some(serve(listener, inner, end));
    }
}

impl Drop for FakeAws {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn serve(listener: TcpListener, inner: Arc<Inner>, end: Arc<Notify>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut clients = JoinSet::new();
        loop {
            let client = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                () = end.notified() => break,
            };
            let inner = Arc::clone(&inner);
            clients.spawn(async move {
                // A client that goes away is its own affair.
                answer(client, &inner).await.ok();
            });
        }
        clients.shutdown().await;
    })
}

async fn answer(mut client: TcpStream, inner: &Inner) -> std::io::Result<()> {
    loop {
        let asked = request(&mut client).await?;
        lock(&inner.asked).push(asked.clone());
        if *inner.dark.borrow() {
            return Ok(());
        }
        let fault = fault(inner, &asked);
        match &fault {
            Some(Fault::Cut) => return Ok(()),
            Some(Fault::Held(held)) => held.wait().await,
            _ => {}
        }
        let (status, body) = match &fault {
            Some(Fault::Says(answer)) => answer.clone(),
            _ => (inner.service)(&asked),
        };
        match &fault {
            Some(Fault::CutAfter) => return Ok(()),
            Some(Fault::Dark) => {
                inner.dark.send_replace(true);
                return Ok(());
            }
            Some(Fault::HeldAfter(held)) => held.wait().await,
            _ => {}
        }
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\
             x-amzn-requestid: request-of-the-test\r\n\
             x-aws-ec2-metadata-token-ttl-seconds: 600\r\n\r\n",
            body.len()
        );
        client.write_all((head + &body).as_bytes()).await?;
    }
}

fn fault(inner: &Inner, asked: &Asked) -> Option<Fault> {
    let mut rules = lock(&inner.rules);
    let rule = rules.iter_mut().find(|rule| (rule.of)(asked))?;
    rule.times -= 1;
    let fault = rule.fault.clone();
    rules.retain(|rule| rule.times > 0);
    Some(fault)
}

async fn request(client: &mut TcpStream) -> std::io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let headers = head.lines().filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, String)> = headers
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let plain = |text: &str| {
        let decoded = percent_encoding::percent_decode_str(text);
        decoded.decode_utf8().unwrap().into_owned()
    };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut asked = Asked {
        method: method.to_owned(),
        path: plain(path),
        query: pairs
            .map(|(key, value)| (plain(key), plain(value)))
            .collect(),
        headers,
        body: String::new(),
    };
    let length = asked.header("content-length").map(|value| value.parse());
    let mut body = vec![0; length.map_or(0, Result::unwrap)];
    client.read_exact(&mut body).await?;
    asked.body = String::from_utf8(body).unwrap();
    Ok(asked)
}
