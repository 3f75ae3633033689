//! What every call gets that the services need not know: details on errors that the framework made, and the deadline
//! of calls that have one answer. (Streams watch their deadline themselves: it lasts longer than the call's headers.)

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tonic::{
    Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response},
    service::Routes,
};
use tower::Service;

use crate::{
    failure::{Failure, Reason},
    services::deadline,
};

/// Header that carries google.rpc.Status.
const DETAILS: &str = "grpc-status-details-bin";

/// The routes with the above.
#[derive(Debug, Clone)]
pub(super) struct StatusDetails {
    routes: Routes,
}

impl StatusDetails {
    pub(super) fn new(routes: Routes) -> Self {
        Self { routes }
    }
}

impl<B> Service<Request<B>> for StatusDetails
where
    Routes: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    <Routes as Service<Request<B>>>::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Routes as Service<Request<B>>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_ours = request.uri().path().starts_with("/imgd.v1.");
        let deadline = deadline::from_headers(request.headers());
        let answer = self.routes.call(request);
        Box::pin(async move {
            let response = match deadline {
                Some(time) => match tokio::time::timeout(time, answer).await {
                    Ok(response) => response?,
                    Err(_) => return Ok(deadline::exceeded().to_status().into_http()),
                },
                None => answer.await?,
            };
            Ok(if is_ours {
                with_details(response)
            } else {
                response
            })
        })
    }
}

fn with_details(response: Response<Body>) -> Response<Body> {
    if response.headers().contains_key(DETAILS) || !response.headers().contains_key("grpc-status") {
        return response;
    }
    match status_of(response.headers()) {
        Some(status) if status.code() != tonic::Code::Ok => status.into_http(),
        _ => response,
    }
}

/// The framework's own status, told in the contract's way.
fn status_of(headers: &HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(headers)?;
    let mut failure = Failure::from_status(&status);
    // The framework's INTERNAL on a request is a body that does not parse: the caller's fault, unless it is ours.
    if failure.reason == Reason::ProtocolMismatch && failure.message.is_empty() {
        failure.message = "this daemon has no such call".to_owned();
        failure.hint = Some("client and daemon are of different versions".to_owned());
    }
    let told = failure.to_status();
    Some(Status::with_details(
        status.code(),
        told.message(),
        told.details().to_vec().into(),
    ))
}
