// Decodes run lengths away from the page, so that two thousand masks do not hold up a click.
import { paintMap } from './rle'

export interface MapOrder { number: number; masks: string[]; areas: number[]; size: [number, number]; scale: number }

self.onmessage = (event: MessageEvent<MapOrder>) => {
  const { number, masks, areas, size, scale } = event.data
  const map = paintMap(masks, areas, size, scale)
  self.postMessage({ number, map }, { transfer: [map.buffer] })
}
