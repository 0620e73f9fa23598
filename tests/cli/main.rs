//! What a person sees: the command line in a sealed environment, with scripted drivers where a driver is needed and
//! as the real program where none is.

mod scripted;
mod sealed;

mod create;
mod listing;
mod program;
mod removal;
mod selection;
