// A picture with masks over it: pan, zoom, click, box, brush and polygon, by mouse, touch and keyboard.
import { useLayoutEffect, useRef } from 'preact/hooks'
import type { Box, Point } from './api'
import { Overlay, type View } from './overlay'
import { Tiles } from './tiles'
import MapWorker from './map.worker?worker'
import type { MapOrder } from './map.worker'

export type Tool = 'move' | 'click' | 'box' | 'brush' | 'eraser' | 'polygon'
export type Colour = [number, number, number, number]
export interface Mark { x: number; y: number; positive: boolean }
export interface Shown {
  image: ImageBitmap | Tiles | null
  size: [number, number] // height, width
  masks: string[]
  areas: number[]
  colours: Colour[]
  marks: Mark[]
  boxes: { box: Box; positive: boolean }[]
  draft: Draft | null
}
export interface Draft { mask: Uint8Array } // a mask in the making, of the size of the picture; painted again for each new record
export interface Acts {
  click(x: number, y: number, positive: boolean): void
  box(box: Box, positive: boolean): void
  stroke(points: Point[], radius: number, done: boolean): void
  polygon(points: Point[]): void
  pick(place: number): void
}

const MOST_SIDE = 4096 // of the map of masks
const key = (size: [number, number]) => size.join('x')

export function Viewer(props: { shown: Shown; tool: Tool; brush: number; acts: Acts; label: string }) {
  const root = useRef<HTMLDivElement>(null)
  const stage = useRef<Stage | null>(null)
  useLayoutEffect(() => {
    stage.current = new Stage(root.current!)
    return () => stage.current?.close()
  }, [])
  useLayoutEffect(() => {
    if (!stage.current) return
    stage.current.tool = props.tool
    stage.current.brush = props.brush
    stage.current.acts = props.acts
    stage.current.show(props.shown)
  })
  return (
    <div class="viewer" ref={root} tabIndex={0} role="application" aria-label={props.label} data-tool={props.tool}>
      <canvas class="picture" />
      <canvas class="masks" />
      <canvas class="marks" />
    </div>
  )
}

class Stage {
  tool: Tool = 'move'
  brush = 12
  acts!: Acts
  private view: View = { x: 0, y: 0, zoom: 1 }
  private shown: Shown | null = null
  private picture: HTMLCanvasElement
  private masks: HTMLCanvasElement
  private marks: HTMLCanvasElement
  private overlay: Overlay
  private worker = new MapWorker()
  private number = 0
  private frame = 0
  private wasMarked = false
  private drag: { from: Point; at: Point; kind: 'pan' | 'box' | 'stroke'; positive: boolean; points: Point[] } | null = null
  private polygon: Point[] = []
  private cursor: Point | null = null
  private corner: Point | null = null
  private pointers = new Map<number, Point>()
  private observer: ResizeObserver
  private fitted = ''

  constructor(private root: HTMLDivElement) {
    [this.picture, this.masks, this.marks] = [...root.querySelectorAll('canvas')] as [HTMLCanvasElement, HTMLCanvasElement, HTMLCanvasElement]
    this.overlay = new Overlay(this.masks)
    root.dataset.renderer = this.overlay.kind
    this.worker.onmessage = (event: MessageEvent<{ number: number; map: Uint16Array }>) => {
      if (event.data.number !== this.number || !this.shown) return // a newer one is on its way
      this.overlay.setMap(event.data.map, this.shown.size, this.mapScale())
      root.dataset.drawn = String(this.shown.masks.length)
      this.draw()
    }
    this.observer = new ResizeObserver(() => this.resize())
    this.observer.observe(root)
    root.addEventListener('pointerdown', this.down)
    root.addEventListener('pointermove', this.move)
    root.addEventListener('pointerup', this.up)
    root.addEventListener('pointercancel', () => { this.drag = null; this.pointers.clear() })
    root.addEventListener('wheel', this.wheel, { passive: false })
    root.addEventListener('dblclick', () => this.closePolygon())
    root.addEventListener('contextmenu', (event) => event.preventDefault())
    root.addEventListener('keydown', this.key)
    this.resize()
  }

  close(): void {
    this.observer.disconnect()
    this.worker.terminate()
  }

  show(shown: Shown): void {
    const before = this.shown
    this.shown = shown
    if (before?.masks !== shown.masks || before.size[0] !== shown.size[0] || before.size[1] !== shown.size[1]) {
      const order: MapOrder = { number: ++this.number, masks: shown.masks, areas: shown.areas, size: shown.size, scale: this.mapScale() }
      this.worker.postMessage(order)
    }
    if (this.tool !== 'polygon') this.polygon = []
    this.overlay.setColours(shown.colours)
    if (shown.image && this.fitted !== key(shown.size)) {
      this.fitted = key(shown.size)
      this.fit()
    }
    this.draw()
  }

  private mapScale(): number {
    return Math.min(1, MOST_SIDE / Math.max(...this.shown!.size))
  }

  private fit(): void {
    const [height, width] = this.shown!.size
    const zoom = Math.min(this.picture.width / width, this.picture.height / height)
    this.view = { zoom, x: (width - this.picture.width / zoom) / 2, y: (height - this.picture.height / zoom) / 2 }
    this.root.dataset.ready = key(this.shown!.size)
  }

  private resize(): void {
    const ratio = Math.min(2, devicePixelRatio || 1)
    const { width, height } = this.root.getBoundingClientRect()
    for (const canvas of [this.picture, this.masks, this.marks]) {
      canvas.width = Math.max(1, Math.round(width * ratio))
      canvas.height = Math.max(1, Math.round(height * ratio))
    }
    if (this.shown?.image) this.fit()
    this.draw()
  }

  // --- where ----------------------------------------------------------------------------------------------------

  private ratio(): number {
    return this.picture.width / Math.max(1, this.root.getBoundingClientRect().width)
  }

  private point(event: { clientX: number; clientY: number }): Point {
    const place = this.root.getBoundingClientRect(), ratio = this.ratio()
    return [
      ((event.clientX - place.left) * ratio) / this.view.zoom + this.view.x,
      ((event.clientY - place.top) * ratio) / this.view.zoom + this.view.y,
    ]
  }

  private inside([x, y]: Point): Point {
    const [height, width] = this.shown?.size ?? [1, 1]
    return [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))]
  }

  private isInside([x, y]: Point): boolean {
    const [height, width] = this.shown?.size ?? [0, 0]
    return x >= 0 && y >= 0 && x < width && y < height
  }

  // --- mouse and touch --------------------------------------------------------------------------------------------

  private down = (event: PointerEvent): void => {
    this.root.focus()
    this.root.setPointerCapture(event.pointerId)
    this.pointers.set(event.pointerId, [event.clientX, event.clientY])
    const at = this.point(event)
    const positive = !(event.altKey || event.button === 2)
    this.cursor = null
    if (this.pointers.size > 1 || event.button === 1) {
      this.drag = { from: at, at, kind: 'pan', positive, points: [] }
      return
    }
    const kind = this.tool === 'box' ? 'box' : this.tool === 'brush' || this.tool === 'eraser' ? 'stroke' : 'pan'
    this.drag = { from: at, at, kind, positive, points: [at] }
    if (kind === 'stroke') this.acts.stroke([at], this.brush, false)
  }

  private move = (event: PointerEvent): void => {
    const before = this.pointers.get(event.pointerId)
    if (!before || !this.drag) return
    const at = this.point(event)
    if (this.pointers.size === 2) this.pinch(event, before)
    else if (this.drag.kind === 'pan') {
      const far = Math.hypot(event.clientX - before[0], event.clientY - before[1])
      if (far > 0 && (this.tool === 'move' || this.drag.points.length > 1 || this.distance(at) > 6)) {
        this.drag.points.push(at)
        this.view.x += this.drag.at[0] - at[0]
        this.view.y += this.drag.at[1] - at[1]
      }
    } else if (this.drag.kind === 'stroke') {
      this.acts.stroke([this.drag.at, at], this.brush, false)
      this.drag.at = at
    } else this.drag.at = at
    this.pointers.set(event.pointerId, [event.clientX, event.clientY])
    this.draw()
  }

  private distance(at: Point): number {
    return this.drag ? Math.hypot(at[0] - this.drag.from[0], at[1] - this.drag.from[1]) * this.view.zoom : 0
  }

  private pinch(event: PointerEvent, before: Point): void {
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)![1]
    const far = (p: Point) => Math.hypot(p[0] - other[0], p[1] - other[1])
    const factor = far([event.clientX, event.clientY]) / Math.max(1, far(before))
    this.zoomAt({ clientX: other[0], clientY: other[1] }, factor)
  }

  private up = (event: PointerEvent): void => {
    this.pointers.delete(event.pointerId)
    const drag = this.drag
    this.drag = null
    if (!drag) return
    if (drag.kind === 'stroke') this.acts.stroke([], this.brush, true)
    else if (drag.kind === 'box') this.giveBox(drag.from, drag.at, drag.positive)
    else if (drag.points.length === 1) this.apply(drag.from, drag.positive)
    this.draw()
  }

  private wheel = (event: WheelEvent): void => {
    event.preventDefault()
    this.zoomAt(event, Math.exp(-event.deltaY / 400))
  }

  private zoomAt(event: { clientX: number; clientY: number }, factor: number): void {
    const [x, y] = this.point(event)
    const zoom = Math.min(64, Math.max(0.01, this.view.zoom * factor))
    this.view = { zoom, x: x - ((x - this.view.x) * this.view.zoom) / zoom, y: y - ((y - this.view.y) * this.view.zoom) / zoom }
    this.draw()
  }

  // --- what a tool does at a point ----------------------------------------------------------------------------------

  private apply(at: Point, positive: boolean): void {
    if (!this.isInside(at)) return
    if (this.tool === 'move') this.acts.pick(this.overlay.at(...at))
    else if (this.tool === 'click') this.acts.click(at[0], at[1], positive)
    else if (this.tool === 'polygon') this.polygon.push(at)
    else if (this.tool === 'box') {
      if (this.corner) {
        this.giveBox(this.corner, at, positive)
        this.corner = null
      } else this.corner = at
    } else {
      this.acts.stroke([at], this.brush, false)
      this.acts.stroke([], this.brush, true)
    }
  }

  private giveBox(from: Point, to: Point, positive: boolean): void {
    const [a, b] = [this.inside(from), this.inside(to)]
    const box: Box = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])]
    if (box[2] - box[0] >= 2 && box[3] - box[1] >= 2) this.acts.box(box.map((value) => Math.round(value * 10) / 10) as Box, positive)
  }

  private closePolygon(): void {
    if (this.polygon.length > 2) this.acts.polygon(this.polygon)
    this.polygon = []
    this.draw()
  }

  // --- keyboard: arrows move a cross, Enter does what a click does there, with Alt its opposite ----------------------

  private key = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || !this.shown) return
    const [height, width] = this.shown.size
    const step = event.shiftKey ? Math.max(width, height) / 20 : Math.max(1, Math.max(width, height) / 100)
    const ways: Record<string, Point> = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }
    const way = ways[event.key]
    if (way && this.root.dataset.arrows !== 'off') {
      const from = this.cursor ?? [width / 2, height / 2]
      this.cursor = this.inside([from[0] + way[0], from[1] + way[1]])
      this.cursor = [Math.min(width - 1, this.cursor[0]), Math.min(height - 1, this.cursor[1])]
    } else if (event.key === 'Enter') {
      if (this.tool === 'polygon' && event.shiftKey) this.closePolygon()
      else this.apply(this.cursor ?? [width / 2, height / 2], !event.altKey)
    } else if (event.key === '+' || event.key === '=') this.zoomCentre(1.25)
    else if (event.key === '-') this.zoomCentre(0.8)
    else if (event.key === '0') this.fit()
    else if (event.key === 'Escape' && (this.polygon.length || this.corner)) { this.polygon = []; this.corner = null }
    else return
    event.preventDefault()
    event.stopPropagation()
    this.draw()
  }

  private zoomCentre(factor: number): void {
    const place = this.root.getBoundingClientRect()
    this.zoomAt({ clientX: place.left + place.width / 2, clientY: place.top + place.height / 2 }, factor)
  }

  // --- painting -----------------------------------------------------------------------------------------------------

  private draw(): void {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.paint())
  }

  private paint(): void {
    this.frame = 0
    const shown = this.shown
    const picture = this.picture.getContext('2d', { alpha: false })!, marks = this.marks.getContext('2d')!
    picture.setTransform(1, 0, 0, 1, 0, 0)
    picture.clearRect(0, 0, this.picture.width, this.picture.height)
    const isMarked = this.hasMarks()
    if (isMarked || this.wasMarked) { // a canvas that nobody touches costs the browser no new picture of it
      marks.setTransform(1, 0, 0, 1, 0, 0)
      marks.clearRect(0, 0, this.marks.width, this.marks.height)
    }
    this.wasMarked = isMarked
    if (!shown) return
    const { x, y, zoom } = this.view
    if (shown.image) {
      picture.imageSmoothingEnabled = zoom < 4
      if (shown.image instanceof Tiles) shown.image.paint(picture, this.view, this.picture)
      else this.paintPart(picture, shown.image, shown.size)
    }
    this.overlay.draw(this.view)
    if (!isMarked) return
    if (shown.draft) this.paintDraft(marks, shown.draft.mask, shown.size)
    marks.setTransform(zoom, 0, 0, zoom, -x * zoom, -y * zoom)
    this.paintMarks(marks, shown)
  }

  private hasMarks(): boolean {
    const shown = this.shown
    const isUnfinished = this.polygon.length > 0 || this.corner !== null || this.cursor !== null || this.drag?.kind === 'box'
    return isUnfinished || (shown !== null && (shown.draft !== null || shown.marks.length > 0 || shown.boxes.length > 0))
  }

  // Only the part that is seen is handed to the canvas: a photo of a hundred megapixels pans as a small one does.
  private paintPart(context: CanvasRenderingContext2D, image: ImageBitmap, size: [number, number]): void {
    const { x, y, zoom } = this.view
    const kx = image.width / size[1], ky = image.height / size[0]
    const left = Math.max(0, x), top = Math.max(0, y)
    const right = Math.min(size[1], x + this.picture.width / zoom), bottom = Math.min(size[0], y + this.picture.height / zoom)
    if (right <= left || bottom <= top) return
    const target: [number, number, number, number] = [(left - x) * zoom, (top - y) * zoom, (right - left) * zoom, (bottom - top) * zoom]
    context.drawImage(image, left * kx, top * ky, (right - left) * kx, (bottom - top) * ky, ...target)
  }

  // As many points as the screen has, however large the picture is.
  private paintDraft(context: CanvasRenderingContext2D, draft: Uint8Array, [height, width]: [number, number]): void {
    const { x, y, zoom } = this.view
    const left = Math.max(0, Math.floor(-x * zoom)), top = Math.max(0, Math.floor(-y * zoom))
    const right = Math.min(this.marks.width, Math.ceil((width - x) * zoom)), bottom = Math.min(this.marks.height, Math.ceil((height - y) * zoom))
    if (right <= left || bottom <= top) return
    const pixels = new ImageData(right - left, bottom - top), values = new Uint32Array(pixels.data.buffer)
    for (let row = top, at = 0; row < bottom; row++) {
      const line = Math.min(height - 1, Math.max(0, Math.floor((row + 0.5) / zoom + y))) * width
      for (let column = left; column < right; column++, at++) {
        if (draft[line + Math.min(width - 1, Math.max(0, Math.floor((column + 0.5) / zoom + x)))]) values[at] = 0x78ffffff
      }
    }
    context.putImageData(pixels, left, top)
  }

  private paintMarks(context: CanvasRenderingContext2D, shown: Shown): void {
    const unit = this.ratio() / this.view.zoom
    context.lineWidth = 2 * unit
    const line = (positive: boolean) => { context.strokeStyle = positive ? '#7ee787' : '#ff7b72'; context.setLineDash(positive ? [] : [6 * unit, 4 * unit]) }
    for (const { box, positive } of shown.boxes) {
      line(positive)
      context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1])
    }
    if (this.drag?.kind === 'box') {
      line(this.drag.positive)
      context.strokeRect(this.drag.from[0], this.drag.from[1], this.drag.at[0] - this.drag.from[0], this.drag.at[1] - this.drag.from[1])
    }
    context.setLineDash([])
    for (const { x, y, positive } of shown.marks) {
      context.beginPath()
      context.arc(x, y, 6 * unit, 0, 7)
      context.fillStyle = positive ? '#1a7f37' : '#cf222e'
      context.fill()
      context.strokeStyle = '#fff'
      context.stroke()
      context.beginPath()
      context.moveTo(x - 3 * unit, y)
      context.lineTo(x + 3 * unit, y)
      if (positive) { context.moveTo(x, y - 3 * unit); context.lineTo(x, y + 3 * unit) }
      context.stroke()
    }
    this.paintUnfinished(context, unit)
  }

  private paintUnfinished(context: CanvasRenderingContext2D, unit: number): void {
    context.strokeStyle = '#fff'
    if (this.polygon.length) {
      context.beginPath()
      for (const [x, y] of this.polygon) context.lineTo(x, y)
      context.stroke()
      for (const [x, y] of this.polygon) context.strokeRect(x - 3 * unit, y - 3 * unit, 6 * unit, 6 * unit)
    }
    if (this.corner) context.strokeRect(this.corner[0] - 4 * unit, this.corner[1] - 4 * unit, 8 * unit, 8 * unit)
    if (this.cursor) {
      const [x, y] = this.cursor
      context.beginPath()
      context.moveTo(x - 12 * unit, y)
      context.lineTo(x + 12 * unit, y)
      context.moveTo(x, y - 12 * unit)
      context.lineTo(x, y + 12 * unit)
      context.stroke()
    }
  }
}
