//! The tables, as a list of steps from each version to the next.
//!
//! A step that was released is never changed: what comes later is another step. Times are microseconds since 1970,
//! UTC. `problem`, `timings`, `request` and `metadata` are messages of the contract, encoded.

/// "imgd", big-endian, in the file's header: `file` and other programs see whose it is.
pub(super) const APPLICATION_ID: i32 = 0x696d_6764;

/// `MIGRATIONS[n]` leads from version `n` to `n + 1`.
pub(super) const MIGRATIONS: &[&str] = &[FIRST];

const FIRST: &str = "
-- How often the journal was opened.
CREATE TABLE life (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    count INTEGER NOT NULL
) STRICT;
INSERT INTO life VALUES (1, 0);

CREATE TABLE job (
    -- The order of submission; never used twice.
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
    submit_key TEXT UNIQUE,
    model_name TEXT NOT NULL,
    -- NULL for the model inside the program.
    model_path BLOB,
    is_attached INTEGER NOT NULL,
    client TEXT NOT NULL,
    priority INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),
    pause_reason INTEGER NOT NULL,
    is_released INTEGER NOT NULL,
    problem BLOB,
    image_count INTEGER NOT NULL,
    images_done INTEGER NOT NULL,
    images_failed INTEGER NOT NULL,
    images_held INTEGER NOT NULL,
    images_dropped INTEGER NOT NULL,
    submitted_us INTEGER NOT NULL,
    started_us INTEGER,
    finished_us INTEGER,
    timings BLOB NOT NULL,
    worker_deaths INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    -- The order of ends, which no clock can change; NULL for a job that goes on.
    ended INTEGER,
    -- Pictures in the library, and their bytes with the thumbnails'.
    kept_images INTEGER NOT NULL DEFAULT 0,
    kept_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX job_state ON job (state, sequence);
CREATE INDEX job_ended ON job (ended, finished_us, kept_images, kept_bytes) WHERE ended IS NOT NULL;

-- Apart from `job`, so that a change of state does not write a megabyte of prompts again.
CREATE TABLE submission (
    job INTEGER PRIMARY KEY REFERENCES job (sequence) ON DELETE CASCADE,
    request BLOB NOT NULL
) STRICT;

-- Pictures that came somewhere.
CREATE TABLE image (
    job INTEGER NOT NULL REFERENCES job (sequence) ON DELETE CASCADE,
    image_index INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 4),
    finished_us INTEGER NOT NULL,
    -- Names the file in the library, once done.
    sha256 BLOB CHECK (sha256 IS NULL OR length(sha256) = 32),
    format INTEGER,
    size_bytes INTEGER,
    metadata BLOB,
    problem BLOB,
    UNIQUE (job, image_index)
) STRICT;
CREATE INDEX image_file ON image (sha256) WHERE sha256 IS NOT NULL;

-- Generations as they were saved last.
CREATE TABLE generation (
    job INTEGER NOT NULL REFERENCES job (sequence) ON DELETE CASCADE,
    image_index INTEGER NOT NULL,
    evaluations_done INTEGER NOT NULL,
    evaluation_count INTEGER NOT NULL,
    is_held INTEGER NOT NULL,
    preview BLOB,
    state BLOB NOT NULL,
    -- Of `state`: a flipped bit would go on in the picture, and SQLite cannot notice it.
    sha256 BLOB NOT NULL,
    UNIQUE (job, image_index)
) STRICT;

-- Time of one step of so many pictures together.
CREATE TABLE curve (
    model_hash TEXT NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    is_guided INTEGER NOT NULL,
    threads INTEGER NOT NULL,
    build_id TEXT NOT NULL,
    batch_size INTEGER NOT NULL,
    seconds REAL NOT NULL,
    UNIQUE (model_hash, width_px, height_px, is_guided, threads, build_id, batch_size)
) STRICT;
";
