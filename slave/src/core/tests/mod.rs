mod drain;
mod executors;
mod harness;
mod registration;
mod status;
mod tasks;
