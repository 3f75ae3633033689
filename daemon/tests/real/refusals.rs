//! A table of bad requests and how each must be refused.

use imgd_proto::{
    Failure, Reason,
    v1::{self, model_service_client::ModelServiceClient},
};
use tonic::{Status, transport::Channel};

use crate::house::generate;

/// What is asked.
pub(crate) enum Ask {
    Generate(Box<v1::GenerateRequest>),
    Load(v1::LoadModelRequest),
    Describe(String),
    Unload(String),
}

/// One line of the table.
pub(crate) struct Refusal {
    pub(crate) name: String,
    pub(crate) ask: Ask,
    pub(crate) reason: Reason,
    /// The field at fault; empty where none is.
    pub(crate) field: &'static str,
}

impl Refusal {
    pub(crate) fn invalid(name: String, ask: Ask, field: &'static str) -> Self {
        Self {
            name,
            ask,
            reason: Reason::InvalidField,
            field,
        }
    }

    /// Asks, and says what is not as it must be.
    pub(crate) async fn check(self, channel: &Channel) -> Result<(), String> {
        let Self {
            name,
            ask,
            reason,
            field,
        } = self;
        let Err(status) = put(channel, ask).await else {
            return Err(format!("{name}: not refused"));
        };
        let Failure {
            field: found,
            message,
            ..
        } = Failure::from_status(&status);
        let details = String::from_utf8_lossy(status.details());
        let wrong = if status.code() != reason.code() {
            format!("code {:?} instead of {:?}", status.code(), reason.code())
        } else if !details.contains(reason.as_str()) || !details.contains("imgd") {
            format!("no google.rpc.ErrorInfo with reason {reason}")
        } else if found.as_deref().unwrap_or_default() != field {
            format!("field {found:?} instead of {field:?}")
        } else if message.trim().is_empty() {
            "no message".to_owned()
        } else {
            return Ok(());
        };
        Err(format!("{name}: {wrong}: {message}"))
    }
}

async fn put(channel: &Channel, ask: Ask) -> Result<(), Status> {
    let mut client = ModelServiceClient::new(channel.clone());
    match ask {
        Ask::Generate(request) => drop(generate(channel, *request).await?),
        Ask::Load(request) => {
            let mut stream = client.load_model(request).await?.into_inner();
            while stream.message().await?.is_some() {}
        }
        Ask::Describe(model) => {
            let request = v1::GetModelRequest {
                model,
                ..v1::GetModelRequest::default()
            };
            drop(client.get_model(request).await?);
        }
        Ask::Unload(model) => drop(
            client
                .unload_model(v1::UnloadModelRequest { model })
                .await?,
        ),
    }
    Ok(())
}

/// Puts every line of the table. Panics with all that are not refused as they must be.
pub(crate) async fn check_all(channel: &Channel, refusals: Vec<Refusal>) {
    let mut wrong = Vec::new();
    for refusal in refusals {
        wrong.extend(refusal.check(channel).await.err());
    }
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
