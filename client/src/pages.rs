//! Lists that come in pages, walked as one.

use std::{collections::VecDeque, future::Future, pin::Pin};

use imgd_proto::v1::{
    Job, JobImage, ListImagesRequest, ListJobsRequest, job_service_client::JobServiceClient,
};

use crate::{Error, Result, link::Link};

type Page<T> = Result<(Vec<T>, String)>;
type Fetch<T> = Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = Page<T>> + Send>> + Send>;

/// A list that is asked for page by page, as far as it is read.
///
/// What comes or goes meanwhile may or may not be in it; nothing is in it twice by the client's doing.
#[must_use = "nothing is asked for before `next`"]
pub struct Pages<T> {
    fetch: Fetch<T>,
    page: VecDeque<T>,
    /// What the next page is asked for with; `None` when there is none.
    token: Option<String>,
}

impl<T> Pages<T> {
    /// The next entry; `None` after the last. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(entry) = self.page.pop_front() {
                return Some(Ok(entry));
            }
            let token = self.token.take()?;
            match (self.fetch)(token.clone()).await {
                Err(error) => return Some(Err(error)),
                Ok((_, next)) if !next.is_empty() && next == token => {
                    return Some(Err(Error::Contract("a page names itself as the next")));
                }
                Ok((page, next)) => {
                    self.page = page.into();
                    self.token = (!next.is_empty()).then_some(next);
                }
            }
        }
    }

    /// The next `count` entries, or all there are when they are fewer.
    pub async fn take(&mut self, count: usize) -> Result<Vec<T>> {
        let mut entries = Vec::new();
        while entries.len() < count {
            match self.next().await {
                Some(entry) => entries.push(entry?),
                None => break,
            }
        }
        Ok(entries)
    }

    /// All entries that are left. Jobs may be large (each has its request): read long lists with [`Pages::next`].
    pub async fn all(mut self) -> Result<Vec<T>> {
        self.take(usize::MAX).await
    }

    fn new(fetch: Fetch<T>) -> Self {
        Self {
            fetch,
            page: VecDeque::new(),
            token: Some(String::new()),
        }
    }
}

impl Pages<Job> {
    pub(crate) fn of_jobs(service: JobServiceClient<Link>, request: ListJobsRequest) -> Self {
        Self::new(Box::new(move |page_token| {
            let mut service = service.clone();
            let request = ListJobsRequest {
                page_token,
                ..request.clone()
            };
            Box::pin(async move {
                let page = service.list_jobs(request).await?.into_inner();
                Ok((page.jobs, page.next_page_token))
            })
        }))
    }
}

impl Pages<JobImage> {
    pub(crate) fn of_images(service: JobServiceClient<Link>, request: ListImagesRequest) -> Self {
        Self::new(Box::new(move |page_token| {
            let mut service = service.clone();
            let request = ListImagesRequest {
                page_token,
                ..request.clone()
            };
            Box::pin(async move {
                let page = service.list_images(request).await?.into_inner();
                Ok((page.images, page.next_page_token))
            })
        }))
    }
}

impl<T> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}
