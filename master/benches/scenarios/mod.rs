//! What is measured, for several programs: the criterion benches, the table of figures and the
//! test that runs all of it in tiny sizes.

pub(crate) mod cluster;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod grid;
pub(crate) mod memory;
pub(crate) mod profiles;
pub(crate) mod quota;
pub(crate) mod reservations;
pub(crate) mod sorters;
pub(crate) mod table;
pub(crate) mod upstream;
