//! A job's pictures: which there are, and their files.

use imgd_proto::{limits, v1};
use tokio::sync::mpsc;

use super::JobApi;
use crate::{
    failure::Failure,
    services::pump::{self, Stream},
};

/// ListImages.
pub(super) async fn list(
    api: &JobApi,
    request: &v1::ListImagesRequest,
) -> Result<v1::ListImagesResponse, Failure> {
    limits::validate_job_id(&request.job_id)?;
    limits::validate_page_size(request.page_size)?;
    let (images, next_page_token) = api
        .scheduler
        .images(&request.job_id, request.page_size, &request.page_token)
        .await?;
    Ok(v1::ListImagesResponse {
        images,
        next_page_token,
    })
}

/// GetImage.
pub(super) async fn get(
    api: &JobApi,
    request: &v1::GetImageRequest,
) -> Result<Stream<v1::GetImageResponse>, Failure> {
    limits::validate_job_id(&request.job_id)?;
    let index = request.image_index;
    let (bytes, metadata) = api
        .scheduler
        .picture(&request.job_id, index, request.thumbnail)
        .await?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for chunk in pump::chunks(index, bytes, metadata) {
            let response = v1::GetImageResponse { chunk: Some(chunk) };
            if pump::deliver(&sender, response).await.is_err() {
                return;
            }
        }
    });
    Ok(Stream::new(receiver))
}
