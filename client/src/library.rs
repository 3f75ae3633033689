//! Pictures of jobs, fetched from the daemon's library.

use imgd_proto::v1::GetImageRequest;

use crate::{
    Client, Error, Image, Result,
    picture::{Complete, Partial},
};

impl Client {
    /// A finished picture of a job: its file and what it is. The bytes are checked against their SHA-256.
    ///
    /// Fails with reason `IMAGE_NOT_FOUND` when there is no such picture, not yet, or not any more.
    pub async fn image(&self, job_id: &str, index: u32) -> Result<Image> {
        self.fetch(job_id, index, false).await?.try_into()
    }

    /// A small copy of a finished picture: a JPEG, at most 256 pixels wide and high. Fails as [`Client::image`] does.
    pub async fn thumbnail(&self, job_id: &str, index: u32) -> Result<Vec<u8>> {
        Ok(self.fetch(job_id, index, true).await?.bytes)
    }

    async fn fetch(&self, job_id: &str, index: u32, thumbnail: bool) -> Result<Complete> {
        let request = GetImageRequest {
            job_id: job_id.into(),
            image_index: index,
            thumbnail,
        };
        let mut stream = self.job_service().get_image(request).await?.into_inner();
        let mut partial = None;
        while let Some(part) = stream.message().await? {
            let chunk = part
                .chunk
                .ok_or(Error::Contract("a part of a picture is empty"))?;
            if chunk.image_index != index {
                return Err(Error::Contract("another picture came than was asked for"));
            }
            if let Some(file) = Partial::accept(&mut partial, chunk)? {
                return Ok(file);
            }
        }
        Err(Error::Contract("a picture ended before its last part"))
    }
}
