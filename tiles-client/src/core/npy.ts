/**
 * Reads NumPy's .npy format, versions 1 and 2, as far as tiles use it: u16, u32 or f64, little endian, C order.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */

export interface NpyArray {
  /** Sizes per axis, outermost first. */
  readonly shape: readonly number[];
  /** The values in C order. A view into the input, not a copy, wherever alignment allows. */
  readonly data: Uint16Array | Uint32Array | Float64Array;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] as const;

/** @throws Error when the bytes are not such an array, saying what was found instead. */
export function decodeNpy(buffer: ArrayBuffer): NpyArray {
  const bytes = new Uint8Array(buffer);
  if (bytes.length < 12 || MAGIC.some((byte, i) => bytes[i] !== byte)) throw new Error("not an .npy array: the magic number is missing");
  const view = new DataView(buffer);
  const long = view.getUint8(6) >= 2;
  const headerBytes = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = (long ? 12 : 10) + headerBytes;
  const header = new TextDecoder("latin1").decode(bytes.subarray(long ? 12 : 10, start));

  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  if (/'fortran_order':\s*True/.test(header)) throw new Error("unsupported .npy array: Fortran order, expected C order");
  const shape = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? "")
    .split(",")
    .filter((size) => size.trim() !== "")
    .map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  const width = { "<u2": 2, "<u4": 4, "<f8": 8 }[descr ?? ""];
  if (width === undefined) throw new Error(`unsupported .npy type ${descr ?? "(none)"}: expected <u2, <u4 or <f8`);
  if (bytes.length - start !== count * width) {
    throw new Error(`cut .npy array: ${bytes.length - start} bytes of data, expected ${count * width}`);
  }
  // Typed arrays need aligned offsets. NumPy pads headers to 64 bytes, so the copy is the exception.
  const aligned = start % width === 0 ? buffer : buffer.slice(start);
  const offset = start % width === 0 ? start : 0;
  const ArrayType = width === 2 ? Uint16Array : width === 4 ? Uint32Array : Float64Array;
  return { shape, data: new ArrayType(aligned, offset, count) };
}
