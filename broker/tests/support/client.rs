//! A Kafka client that can also send what no client should: a socket, frames, and calls made of the protocol crate's messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use kennet_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreateTopicsRequest,
};
use kennet_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use kennet_protocol::{ApiKey, Decoder, Message, Request, decode_response_header, encode_request};

/// Longer than anything that a broker has to wait for here, except a slow sender's deadline.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read deadline");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write deadline");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, correlation_id: 0 }
    }

    /// Sends bytes as they are. A broker that has closed already is no error here: reading tells.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Ok(()) => {}
            Err(error) if is_close(error.kind()) => {}
            Err(error) => panic!("the broker does not take {} bytes: {error}", bytes.len()),
        }
    }

    /// Sends a frame with the right length.
    pub fn send_frame(&mut self, frame: &[u8]) {
        let length = i32::try_from(frame.len()).expect("a frame of a test is small");
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(frame);
        self.send_bytes(&bytes);
    }

    /// Sends a request and does not wait.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.send_as(version, "test", request);
    }

    /// Sends a request under a client id and does not wait.
    pub fn send_as<R: Request>(&mut self, version: i16, client_id: &str, request: &R) {
        self.correlation_id += 1;
        let frame =
            encode_request(version, self.correlation_id, Some(client_id), request).expect("the request encodes");
        for chunk in frame {
            self.send_bytes(&chunk);
        }
    }

    /// Sends a request and waits until a handler has it: one task reads both requests before it writes the first one's answer.
    pub fn send_and_wait_until_handled<R: Request>(&mut self, version: i16, request: &R) {
        let first = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
        let encode = |frame: Result<Vec<Bytes>, _>| frame.expect("the request encodes").concat();
        let first_id = self.correlation_id + 1;
        self.correlation_id += 2;
        let mut both = encode(encode_request(12, first_id, Some("test"), &first));
        both.extend(encode(encode_request(version, self.correlation_id, Some("test"), request)));
        self.send_bytes(&both);
        let _: MetadataResponse = self.receive::<MetadataRequest>(12, first_id);
    }

    /// The next answer, or none if the broker closed the connection.
    pub fn frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).expect("an answer's length is positive");
        let mut frame = vec![0; length];
        self.read(&mut frame)?;
        Some(Bytes::from(frame))
    }

    /// The answer to the request with this number.
    pub fn receive<R: Request>(&mut self, version: i16, correlation_id: i32) -> R::Response {
        let frame = self.frame().expect("the broker answers");
        let mut decoder = Decoder::new(frame);
        let found = decode_response_header(R::KEY, version, &mut decoder).expect("the header decodes");
        assert_eq!(found, correlation_id, "answers come in the order of requests");
        let response = R::Response::decode(&mut decoder, version).expect("the answer decodes");
        decoder.finish().expect("nothing is left of the answer");
        response
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version, self.correlation_id)
    }

    /// The number of the request that was sent last.
    pub fn last_sent(&self) -> i32 {
        self.correlation_id
    }

    /// Waits until the broker closes the connection.
    pub fn assert_closed(&mut self, why: &str) {
        let frame = self.frame();
        assert!(frame.is_none(), "{why}: the connection must be closed, and answered {frame:?}");
    }

    /// Asks for metadata, which every living broker answers.
    pub fn assert_alive(&mut self) {
        let answer: MetadataResponse =
            self.call(12, &MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() });
        assert_eq!(answer.brokers.len(), 1);
    }

    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopicResult {
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: (*name).to_owned(), value: Some((*value).to_owned()) })
            .collect();
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        self.call(7, &request).topics.remove(0)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) if is_close(error.kind()) => None,
            Err(error) => panic!("the broker neither answers nor closes: {error}"),
        }
    }
}

/// The bytes of a request without its length.
pub fn frame_of<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let chunks = encode_request(version, 1, Some("test"), request).expect("the request encodes");
    chunks.concat()[4..].to_vec()
}

/// A request's header without a client id, for bodies made by hand.
pub fn header(key: i16, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&key.to_be_bytes());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&7_i32.to_be_bytes());
    bytes.extend_from_slice(&(-1_i16).to_be_bytes());
    if ApiKey::from_code(key).is_some_and(|key| key.is_flexible(version)) {
        bytes.push(0);
    }
    bytes
}

fn is_close(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
