// A photo too large for one bitmap: tiles of the level that the screen needs, over coarser ones that are there already.
import { bitmap } from './api'

export const TILE = 512
const KEPT = 160 // tiles in memory, a megabyte each
const AT_ONCE = 6
export const isLarge = (width: number, height: number) => width * height > 24_000_000

interface Place { level: number; column: number; row: number }

export class Tiles {
  private kept = new Map<string, ImageBitmap>()
  private asked = new Set<string>()
  private wanted: Place[] = []
  readonly levels: number

  constructor(private path: string, readonly width: number, readonly height: number, private changed: () => void) {
    this.levels = 1 + Math.max(0, Math.ceil(Math.log2(Math.max(width, height) / TILE)))
    this.want([{ level: this.levels - 1, column: 0, row: 0 }])
  }

  // Paints the part from (left, top) to (right, bottom), in pixels of the photo, at `zoom`, with (x, y) at the corner.
  paint(context: CanvasRenderingContext2D, view: { x: number; y: number; zoom: number }, canvas: { width: number; height: number }): void {
    const level = Math.min(this.levels - 1, Math.max(0, Math.floor(Math.log2(1 / view.zoom))))
    const missing: Place[] = []
    for (let each = this.levels - 1; each >= level; each--) {
      for (const place of this.seen(each, view, canvas)) {
        const tile = this.kept.get(keyOf(place))
        if (tile) this.paintTile(context, place, tile, view)
        else if (each === level) missing.push(place)
      }
    }
    this.want(missing)
  }

  close(): void {
    this.wanted = []
    for (const tile of this.kept.values()) tile.close()
    this.kept.clear()
  }

  private seen(level: number, view: { x: number; y: number; zoom: number }, canvas: { width: number; height: number }): Place[] {
    const side = TILE * 2 ** level, found: Place[] = []
    const last = (length: number) => Math.ceil(length / side) - 1
    const right = Math.min(last(this.width), Math.floor((view.x + canvas.width / view.zoom) / side))
    const bottom = Math.min(last(this.height), Math.floor((view.y + canvas.height / view.zoom) / side))
    for (let row = Math.max(0, Math.floor(view.y / side)); row <= bottom; row++) {
      for (let column = Math.max(0, Math.floor(view.x / side)); column <= right; column++) found.push({ level, column, row })
    }
    return found
  }

  private paintTile(context: CanvasRenderingContext2D, place: Place, tile: ImageBitmap, view: { x: number; y: number; zoom: number }): void {
    const scale = 2 ** place.level, side = TILE * scale
    const x = (place.column * side - view.x) * view.zoom, y = (place.row * side - view.y) * view.zoom
    context.drawImage(tile, x, y, tile.width * scale * view.zoom + 0.5, tile.height * scale * view.zoom + 0.5)
    const key = keyOf(place) // the one used last goes last
    this.kept.delete(key)
    this.kept.set(key, tile)
  }

  // What is seen now comes before what was seen before.
  private want(places: Place[]): void {
    this.wanted = places.filter((each) => !this.asked.has(keyOf(each)))
    while (this.wanted.length && this.asked.size < AT_ONCE) void this.fetch(this.wanted.shift()!)
  }

  private async fetch(place: Place): Promise<void> {
    const key = keyOf(place)
    this.asked.add(key)
    try {
      this.kept.set(key, await bitmap(`${this.path}/tiles/${place.level}/${place.column}/${place.row}`))
      while (this.kept.size > KEPT) {
        const [oldest, tile] = this.kept.entries().next().value!
        tile.close()
        this.kept.delete(oldest)
      }
    } catch { /* the next paint asks again */ } finally {
      this.asked.delete(key)
      this.changed()
    }
  }
}

const keyOf = ({ level, column, row }: Place) => `${level}/${column}/${row}`
