//! An API server on loopback that tells a fixed story. Only for what a real cluster does not do on demand: being empty,
//! refusing, failing in a chosen way.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// One answer: to requests that begin with `request`, as in `POST /apis/…`.
#[derive(Clone)]
pub(crate) struct Answer {
    request: &'static str,
    code: u16,
    /// A document, or the lines of a watch.
    body: Vec<Value>,
    after: &'static str,
    times: usize,
}

/// The server; it ends with the process.
pub(crate) struct Api {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Answer {
    pub(crate) fn new(request: &'static str, code: u16, body: Value) -> Self {
        Self { request, code, body: vec![body], after: "", times: usize::MAX }
    }

    /// A watch that reports these events, and ends.
    pub(crate) fn watch(request: &'static str, events: Vec<Value>) -> Self {
        Self { body: events, ..Self::new(request, 200, Value::Null) }
    }

    /// Given only once a request that begins like this has been made.
    pub(crate) fn after(self, request: &'static str) -> Self {
        Self { after: request, ..self }
    }

    /// Given only the first time.
    pub(crate) fn once(self) -> Self {
        Self { times: 1, ..self }
    }

    /// A `Status` as the API server writes it.
    pub(crate) fn refusal(request: &'static str, code: u16, reason: &str, message: &str) -> Self {
        let name = message.split('"').nth(1).unwrap_or_default();
        let kind = message.split([' ', '.']).next().unwrap_or_default();
        let details = if name.is_empty() { json!({}) } else { json!({"name": name, "kind": kind}) };
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": message, "details": details});
        Self::new(request, code, status)
    }
}

impl Api {
    /// Answers each request with the first of `answers` that fits it; what fits none is not found.
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let answers = Arc::new(Mutex::new(answers));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, log) = (Arc::clone(&answers), Arc::clone(&log));
                thread::spawn(move || serve(&stream, &answers, &log));
            }
        });
        Self { url, requests }
    }

    /// Requests so far, as method and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, answers: &Mutex<Vec<Answer>>, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (request, body) = read(&mut reader)?;
        log.lock().unwrap().push(request.split('?').next().unwrap().to_owned());
        let answer = choose(&mut answers.lock().unwrap(), &request, &log.lock().unwrap());
        write(stream, &answer, &body)?;
    }
}

fn choose(answers: &mut [Answer], request: &str, log: &[String]) -> Answer {
    let fits = |answer: &&mut Answer| {
        let made = log.iter().any(|request| request.starts_with(answer.after));
        request.starts_with(answer.request) && made && answer.times > 0
    };
    let Some(answer) = answers.iter_mut().find(fits) else {
        return Answer::refusal("", 404, "", "404 page not found");
    };
    answer.times -= 1;
    answer.clone()
}

/// The request line without the version, and the body.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<(String, Value)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let length =
        lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let request = lines.first()?.trim_end_matches(" HTTP/1.1").to_owned();
    Some((request, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// Writes the answer; what is created gets the name and the key of the request.
fn write(mut stream: &TcpStream, answer: &Answer, request: &Value) -> Option<()> {
    let lines: Vec<String> = answer.body.iter().map(|line| filled(line, request).to_string()).collect();
    let body = lines.join("\n") + "\n";
    let code = answer.code;
    let head = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()
}

fn filled(answer: &Value, request: &Value) -> Value {
    let mut answer = answer.clone();
    if let (Some("Workspace"), Value::Object(_)) = (answer["kind"].as_str(), request)
        && request["kind"] == "Workspace"
    {
        answer["spec"] = request["spec"].clone();
        answer["metadata"]["name"] = request["metadata"]["name"].clone();
    }
    answer
}
