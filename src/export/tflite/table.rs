//! TensorFlow Lite's tables as flatbuffers: the fields that are written, by their place in its `schema.fbs`.

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, Push, TableFinishedWIPOffset, Vector, WIPOffset};

/// A table or vector that is in the buffer.
pub type Offset = WIPOffset<TableFinishedWIPOffset>;

/// A flatbuffer in the making.
pub type Buffer = FlatBufferBuilder<'static>;

/// A field of a table that is about to be written.
#[derive(Clone, Copy, Debug)]
pub enum Field {
    /// One byte: enumerations, booleans, union types.
    Byte(u8),
    /// A whole number.
    Int(i32),
    /// A number.
    Float(f32),
    /// What is in the buffer already.
    Offset(WIPOffset<()>),
}

impl Field {
    /// A table or vector that is in the buffer.
    pub fn offset<T>(offset: WIPOffset<T>) -> Self {
        Self::Offset(WIPOffset::new(offset.value()))
    }
}

/// Writes a table with these fields at their places.
pub fn table(buffer: &mut Buffer, fields: &[(u16, Field)]) -> Offset {
    let start = buffer.start_table();
    for &(place, field) in fields {
        let slot = 4 + 2 * place;
        match field {
            Field::Byte(value) => buffer.push_slot_always(slot, value),
            Field::Int(value) => buffer.push_slot_always(slot, value),
            Field::Float(value) => buffer.push_slot_always(slot, value),
            Field::Offset(offset) => buffer.push_slot_always(slot, offset),
        }
    }
    WIPOffset::new(buffer.end_table(start).value())
}

/// Writes a vector of numbers.
pub fn numbers<T: Push<Output: 'static> + Copy>(buffer: &mut Buffer, values: &[T]) -> Field {
    Field::offset(buffer.create_vector::<T>(values))
}

/// Writes a vector of tables.
pub fn tables(buffer: &mut Buffer, values: &[Offset]) -> Field {
    let vector: WIPOffset<Vector<'_, ForwardsUOffset<TableFinishedWIPOffset>>> = buffer.create_vector(values);
    Field::offset(vector)
}

/// Writes a string.
pub fn text(buffer: &mut Buffer, value: &str) -> Field {
    Field::offset(buffer.create_string(value))
}
