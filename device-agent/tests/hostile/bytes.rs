//! Calls with arbitrary bytes as messages.

use std::net::SocketAddr;

use agent_protocol::TOKEN_METADATA;
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Every call of the agent.
pub const METHODS: [&str; 9] = [
    "Hello",
    "HasModel",
    "UploadModel",
    "Measure",
    "Run",
    "GetDeviceState",
    "GetAgentState",
    "Monitor",
    "Shutdown",
];

/// A codec that passes bytes on unchanged.
#[derive(Default)]
struct Raw;

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

/// A connection that sends any bytes.
#[derive(Clone)]
pub struct Caller {
    channel: Channel,
    token: Option<String>,
}

impl Caller {
    /// Connects to this address; every call carries this token.
    pub async fn to(address: SocketAddr, token: Option<&str>) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self {
            channel: endpoint.connect().await.unwrap(),
            token: token.map(str::to_owned),
        }
    }

    /// Calls a method with these messages and metadata, and returns the first message of the
    /// answer.
    pub async fn call(
        &self,
        method: &str,
        messages: Vec<Bytes>,
        metadata: &[(&'static str, &str)],
    ) -> Result<Bytes, Status> {
        let mut client = Grpc::new(self.channel.clone());
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let path = format!("/graphprune.agent.v1.Agent/{method}");
        let path = PathAndQuery::try_from(path).unwrap();
        let mut request = Request::new(tokio_stream::iter(messages));
        let own = self.token.iter().map(|token| (TOKEN_METADATA, &token[..]));
        for (key, value) in own.chain(metadata.iter().copied()) {
            request.metadata_mut().insert(key, value.parse().unwrap());
        }
        let mut answers = client.streaming(request, path, Raw).await?.into_inner();
        answers
            .message()
            .await?
            .ok_or_else(|| Status::unknown("an empty answer"))
    }
}
