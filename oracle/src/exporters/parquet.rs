//! Columns as a Parquet file: whole numbers, numbers, truth values and words, each of which may be missing.

use super::{Cells, Column};
use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type,
};
use std::{
    io::{self, Write},
    sync::Arc,
};

/// Writes a file with one group of rows.
///
/// # Errors
/// What the system says.
pub fn write(columns: &[Column], to: &mut (impl Write + Send)) -> io::Result<()> {
    parts(columns, to).map_err(|error| match error {
        ParquetError::External(source) => io::Error::other(source),
        other => io::Error::other(other.to_string()),
    })
}

fn parts(columns: &[Column], to: &mut (impl Write + Send)) -> Result<(), ParquetError> {
    let field = |column: &Column| {
        let (physical, logical) = match column.cells {
            Cells::Whole(_) => (Physical::INT64, None),
            Cells::Real(_) => (Physical::DOUBLE, None),
            Cells::Truth(_) => (Physical::BOOLEAN, None),
            Cells::Words(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(&column.name, physical).with_logical_type(logical);
        field.with_repetition(Repetition::OPTIONAL).build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder("measurements").with_fields(fields).build()?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    let mut writer = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties.build()))?;
    let mut group = writer.next_row_group()?;
    for column in columns {
        match &column.cells {
            Cells::Whole(cells) => column_of::<Int64Type, _, _>(&mut group, cells, |cell| *cell)?,
            Cells::Real(cells) => column_of::<DoubleType, _, _>(&mut group, cells, |cell| *cell)?,
            Cells::Truth(cells) => column_of::<BoolType, _, _>(&mut group, cells, |cell| *cell)?,
            Cells::Words(cells) => {
                column_of::<ByteArrayType, _, _>(&mut group, cells, |cell| ByteArray::from(cell.as_str()))?;
            }
        }
    }
    group.close()?;
    writer.close()?;
    Ok(())
}

/// Writes the next column of a group.
fn column_of<D: DataType, C, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: &[Option<C>],
    value: impl Fn(&C) -> D::T,
) -> Result<(), ParquetError> {
    let values: Vec<D::T> = cells.iter().flatten().map(value).collect();
    let there: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    if let Some(mut column) = group.next_column()? {
        column.typed::<D>().write_batch(&values, Some(&there), None)?;
        column.close()?;
    }
    Ok(())
}
