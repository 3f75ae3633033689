//! Tests of the whole: real daemon, real client, real pictures.
