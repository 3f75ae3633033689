//! What can be asked of the journal. The answers come from the reader's thread.

use std::fs;

use imgd_proto::v1;
use tonic::codegen::Bytes;

use super::{
    Answer, Journal, Outcomes, Record, SavedImage, error::no_such_image, generations, history,
    images, jobs,
};

impl Journal {
    /// The job whose id begins so, when no other's does.
    pub fn get(&self, prefix: &str) -> Answer<Record> {
        let prefix = prefix.to_owned();
        self.questions
            .ask(move |shelves| Ok(history::find(&shelves.connection, &prefix)?.record))
    }

    /// A page of jobs, newest first, and the next page's token. No `states` are all, an empty `request_id` is any.
    pub fn list(
        &self,
        states: &[v1::JobState],
        request_id: &str,
        page_size: u32,
        page_token: &str,
    ) -> Answer<(Vec<Record>, String)> {
        let (states, request_id) = (states.to_owned(), request_id.to_owned());
        let token = page_token.to_owned();
        self.questions.ask(move |shelves| {
            history::list(&shelves.connection, &states, &request_id, page_size, &token)
        })
    }

    /// A page of a job's pictures that came somewhere, in order of index, and the next page's token.
    pub fn images(
        &self,
        job: &str,
        page_size: u32,
        page_token: &str,
    ) -> Answer<(Vec<v1::JobImage>, String)> {
        let (job, token) = (job.to_owned(), page_token.to_owned());
        self.questions.ask(move |shelves| {
            let job = jobs::sequence(&shelves.connection, &job)?;
            images::list(&shelves.connection, job, page_size, &token)
        })
    }

    /// What became of a job's pictures, in short.
    pub fn outcomes(&self, job: &str) -> Answer<Outcomes> {
        let job = job.to_owned();
        self.questions.ask(move |shelves| {
            let job = jobs::sequence(&shelves.connection, &job)?;
            images::outcomes(&shelves.connection, job)
        })
    }

    /// A finished picture's file, or its thumbnail, and what the picture is.
    pub fn picture(
        &self,
        job: &str,
        index: u32,
        thumbnail: bool,
    ) -> Answer<(Bytes, v1::ImageMetadata)> {
        let id = job.to_owned();
        self.questions.ask(move |shelves| {
            let job = jobs::sequence(&shelves.connection, &id)?;
            let Some((blob, metadata)) = images::done(&shelves.connection, job, index)? else {
                return Err(no_such_image(&id, index).into());
            };
            let bytes = if thumbnail {
                shelves.library.thumbnail(&blob)?
            } else {
                shelves.library.picture(&blob)?
            };
            // Someone may have taken the file away.
            let bytes = bytes.ok_or_else(|| no_such_image(&id, index))?;
            Ok((bytes, metadata))
        })
    }

    /// A generation as it was saved last, held ones too.
    pub fn saved(&self, job: &str, index: u32) -> Answer<Option<SavedImage>> {
        let job = job.to_owned();
        self.questions.ask(move |shelves| {
            let job = jobs::sequence(&shelves.connection, &job)?;
            generations::get(&shelves.connection, job, index)
        })
    }

    /// What there is in all. Pictures of equal bytes count each.
    pub fn statistics(&self) -> Answer<v1::Library> {
        self.questions.ask(|shelves| {
            let [jobs, images, bytes] = shelves.connection.query_row(
                "SELECT count(*), coalesce(sum(kept_images), 0), coalesce(sum(kept_bytes), 0) FROM job",
                [],
                |row| {
                    let number = |column| row.get(column).map(i64::cast_unsigned);
                    Ok([number(0)?, number(1)?, number(2)?])
                },
            )?;
            let journal = ["journal.db", "journal.db-wal"].map(|name| {
                fs::metadata(shelves.directory.join(name)).map_or(0, |found| found.len())
            });
            Ok(v1::Library {
                path: shelves.directory.to_string_lossy().into_owned(),
                jobs,
                images,
                size_bytes: bytes + journal.iter().sum::<u64>(),
            })
        })
    }
}
