//! TEMP
pub(super) struct Info { pub(super) name: &'static str }
pub(super) fn samplers() -> &'static [Info] { &[Info { name: "dpmpp_2m" }, Info { name: "euler" }] }
pub(super) fn schedules() -> &'static [Info] { &[Info { name: "karras" }, Info { name: "normal" }] }
