//! What may happen to the machine and its users.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

/// What may happen to the machine and its users.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Arrival(Asked),
    Cancel(prop::sample::Index),
    Pause(prop::sample::Index, bool),
    Reader(prop::sample::Index, bool),
    Death,
    FilesChange(u8),
    Memory(u64),
    Unwanted(u8),
    Inquiry(u8),
    Background(bool),
    Duty(u64),
    SaveDue(prop::sample::Index),
    Failure(prop::sample::Index),
    Time(u64),
    Work(u32),
}

#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) model: u8,
    pub(super) images: u32,
    pub(super) class: u8,
    pub(super) client: u32,
    pub(super) side_px: u32,
    pub(super) is_guided: bool,
    pub(super) hold_after: Option<u32>,
    pub(super) stay_secs: Option<u64>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let model = prop_oneof![5 => 0u8..3, 2 => Just(3u8), 1 => Just(4u8)];
    let side = prop_oneof![3 => Just(8u32), 1 => Just(16u32), 1 => Just(40u32)];
    let hold = prop::option::weighted(0.1, 1u32..4);
    let stay = prop::option::weighted(0.7, 0u64..40);
    (
        (model, 0u32..7, 0u8..3, 0u32..3),
        (side, any::<bool>(), hold, stay),
    )
        .prop_map(|((model, images, class, client), rest)| {
            let (side_px, is_guided, hold_after, stay_secs) = rest;
            Asked {
                model,
                images,
                class,
                client,
                side_px,
                is_guided,
                hold_after,
                stay_secs,
            }
        })
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => asked().prop_map(Event::Arrival),
        2 => index().prop_map(Event::Cancel),
        2 => (index(), any::<bool>()).prop_map(|(index, on)| Event::Pause(index, on)),
        2 => (index(), any::<bool>()).prop_map(|(index, on)| Event::Reader(index, on)),
        1 => Just(Event::Death),
        1 => (0u8..4).prop_map(Event::FilesChange),
        1 => (0u64..1500).prop_map(Event::Memory),
        1 => (0u8..4).prop_map(Event::Unwanted),
        1 => (0u8..5).prop_map(Event::Inquiry),
        2 => any::<bool>().prop_map(Event::Background),
        1 => (0u64..30).prop_map(Event::Duty),
        2 => index().prop_map(Event::SaveDue),
        1 => index().prop_map(Event::Failure),
        2 => (0u64..100).prop_map(Event::Time),
        12 => (1u32..40).prop_map(Event::Work),
    ]
}
