// COCO run lengths: runs go down the columns and begin with one of zeros; compressed, each is a difference to the last
// but one, in groups of five bits.

export function readRuns(counts: string): number[] {
  const runs: number[] = []
  let at = 0
  while (at < counts.length) {
    let value = 0, shift = 0, more = true
    while (more) {
      const letter = counts.charCodeAt(at++) - 48
      value |= (letter & 31) << shift
      more = (letter & 32) !== 0
      shift += 5
      if (!more && letter & 16) value |= -1 << shift
    }
    if (runs.length > 2) value += runs[runs.length - 2]!
    runs.push(value)
  }
  return runs
}

function packRuns(runs: number[]): string {
  let text = ''
  runs.forEach((run, place) => {
    let value = place > 2 ? run - runs[place - 2]! : run
    for (let more = true; more;) {
      let letter = value & 31
      value >>= 5
      more = letter & 16 ? value !== -1 : value !== 0
      if (more) letter |= 32
      text += String.fromCharCode(letter + 48)
    }
  })
  return text
}

// Pixels row by row, 1 where the mask is.
export function decode(counts: string, height: number, width: number): Uint8Array {
  const mask = new Uint8Array(height * width)
  let at = 0
  readRuns(counts).forEach((run, place) => {
    if (place % 2) for (let i = at; i < at + run; i++) mask[(i % height) * width + ((i / height) | 0)] = 1
    at += run
  })
  return mask
}

export function encode(mask: Uint8Array, height: number, width: number): string {
  const runs: number[] = []
  let value = 0, run = 0
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const pixel = mask[y * width + x] ? 1 : 0
      if (pixel !== value) {
        runs.push(run)
        run = 0
        value = pixel
      }
      run++
    }
  }
  runs.push(run)
  return packRuns(runs)
}

// A map of which mask is where, at a smaller scale where the image is large: place + 1, small masks on top.
export function paintMap(masks: string[], areas: number[], size: [number, number], scale: number): Uint16Array {
  const [height, width] = size
  const rows = Math.max(1, Math.ceil(height * scale)), columns = Math.max(1, Math.ceil(width * scale))
  const map = new Uint16Array(rows * columns)
  const order = masks.map((_, place) => place).sort((a, b) => areas[b]! - areas[a]!)
  for (const place of order) {
    let at = 0
    readRuns(masks[place]!).forEach((run, number) => {
      if (number % 2) fill(map, at, at + run, height, rows, columns, scale, place + 1)
      at += run
    })
  }
  return map
}

function fill(
  map: Uint16Array, start: number, end: number, height: number, rows: number, columns: number, scale: number, value: number,
): void {
  while (start < end) {
    const x = Math.floor(start / height), stop = Math.min(end, (x + 1) * height)
    const column = Math.min(columns - 1, Math.floor(x * scale))
    const top = Math.floor((start - x * height) * scale), bottom = Math.ceil((stop - x * height) * scale)
    for (let row = top; row < bottom && row < rows; row++) map[row * columns + column] = value
    start = stop
  }
}
