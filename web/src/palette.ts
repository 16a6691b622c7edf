// Eight colours that people with any colour vision tell apart (after Okabe and Ito), then the same in other lightness.
const BASE = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167], [170, 170, 170]]

export function colourOf(place: number): [number, number, number] {
  const [r, g, b] = BASE[place % BASE.length]!
  const round = Math.floor(place / BASE.length) % 3
  const mix = (value: number) => Math.round(round === 0 ? value : round === 1 ? value * 0.65 : 128 + value / 2)
  return [mix(r!), mix(g!), mix(b!)]
}

export const css = (place: number, alpha = 1): string => `rgba(${colourOf(place).join(',')},${alpha})`
