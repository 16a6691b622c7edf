// All masks as one texture of numbers, coloured in the shader: moving a threshold or hiding an object only changes the
// table of colours, whatever the number of masks. Where there is no WebGL2 the same is painted by hand.

export interface View { x: number; y: number; zoom: number } // image point at the corner of the canvas, and pixels a pixel

// The part of the canvas that the image takes; `texel` runs over the map of ids.
const VERTEX = `#version 300 es
uniform vec2 canvas; uniform vec3 view; uniform vec2 image; uniform vec2 texels;
in vec2 corner; out vec2 texel;
void main() {
  texel = corner * texels;
  vec2 screen = (corner * image - view.xy) * view.z;
  gl_Position = vec4(screen / canvas * vec2(2.0, -2.0) + vec2(-1.0, 1.0), 0.0, 1.0);
}`

// Most of the work of a frame, where a processor paints: one look-up where nothing is shown, at most six elsewhere.
const FRAGMENT = `#version 300 es
precision highp float; precision highp usampler2D;
uniform usampler2D ids; uniform sampler2D colours; uniform vec2 texels; uniform float reach;
in vec2 texel; out vec4 colour;
bool differs(vec2 place, uint id) {
  if (any(lessThan(place, vec2(0.0))) || any(greaterThanEqual(place, texels))) return true;
  return texelFetch(ids, ivec2(place), 0).r != id;
}
void main() {
  uint id = texelFetch(ids, min(ivec2(max(texel, 0.0)), textureSize(ids, 0) - 1), 0).r;
  if (id == 0u) { colour = vec4(0.0); return; }
  colour = texelFetch(colours, ivec2(id & 255u, id >> 8), 0);
  if (colour.a == 0.0) { colour = vec4(0.0); return; }
  bool edge = differs(texel + vec2(reach, 0.0), id) || differs(texel - vec2(reach, 0.0), id)
    || differs(texel + vec2(0.0, reach), id) || differs(texel - vec2(0.0, reach), id);
  colour = edge ? vec4(colour.rgb, 1.0) : vec4(colour.rgb * colour.a, colour.a);
}`
const EDGE = 1.5 // pixels of the screen

export class Overlay {
  private gl: WebGL2RenderingContext | null
  private program: WebGLProgram | null = null
  private flat: CanvasRenderingContext2D | null = null
  private colours = new Uint8Array(256 * 256 * 4)
  private rows = 1
  map = new Uint16Array(1)
  columns = 1
  scale = 1
  image: [number, number] = [1, 1] // height, width

  constructor(private canvas: HTMLCanvasElement) {
    this.gl = canvas.getContext('webgl2', { premultipliedAlpha: true, antialias: false })
    if (this.gl) this.program = this.link(this.gl)
    else this.flat = canvas.getContext('2d')
  }

  get kind(): string { return this.gl ? 'webgl2' : '2d' }

  private link(gl: WebGL2RenderingContext): WebGLProgram {
    const program = gl.createProgram()!
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!
      gl.shaderSource(shader, source)
      gl.compileShader(shader)
      gl.attachShader(program, shader)
    }
    gl.linkProgram(program)
    gl.useProgram(program)
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer())
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW)
    const corner = gl.getAttribLocation(program, 'corner')
    gl.enableVertexAttribArray(corner)
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0)
    for (const unit of [0, 1]) {
      gl.activeTexture(gl.TEXTURE0 + unit)
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture())
      for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST)
    }
    gl.uniform1i(gl.getUniformLocation(program, 'ids'), 0)
    gl.uniform1i(gl.getUniformLocation(program, 'colours'), 1)
    return program
  }

  setMap(map: Uint16Array, image: [number, number], scale: number): void {
    this.map = map as Uint16Array<ArrayBuffer>
    this.image = image
    this.scale = scale
    this.columns = Math.max(1, Math.ceil(image[1] * scale))
    this.rows = map.length / this.columns
    const gl = this.gl
    if (!gl) return
    gl.activeTexture(gl.TEXTURE0)
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 2)
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16UI, this.columns, this.rows, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, map)
  }

  // The colour of each place; opacity 0 hides it.
  setColours(colours: [number, number, number, number][]): void {
    this.colours.fill(0)
    colours.forEach((colour, place) => this.colours.set(colour, (place + 1) * 4))
    const gl = this.gl
    if (!gl) return
    gl.activeTexture(gl.TEXTURE1)
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4)
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 256, 0, gl.RGBA, gl.UNSIGNED_BYTE, this.colours)
  }

  // Which mask is at a point of the image: its place, or -1.
  at(x: number, y: number): number {
    const column = Math.floor(x * this.scale), row = Math.floor(y * this.scale)
    if (column < 0 || row < 0 || column >= this.columns || row >= this.rows) return -1
    const id = this.map[row * this.columns + column] ?? 0
    return id && this.colours[id * 4 + 3] ? id - 1 : -1
  }

  draw(view: View): void {
    const { width, height } = this.canvas
    const gl = this.gl
    if (!gl || !this.program) return this.drawFlat(view)
    const place = (name: string) => gl.getUniformLocation(this.program!, name)
    gl.viewport(0, 0, width, height)
    gl.clearColor(0, 0, 0, 0)
    gl.clear(gl.COLOR_BUFFER_BIT)
    gl.uniform2f(place('canvas'), width, height)
    gl.uniform3f(place('view'), view.x, view.y, view.zoom)
    gl.uniform2f(place('image'), this.image[1], this.image[0])
    gl.uniform2f(place('texels'), this.image[1] * this.scale, this.image[0] * this.scale)
    gl.uniform1f(place('reach'), (EDGE * this.scale) / view.zoom)
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4)
  }

  private drawFlat(view: View): void {
    const context = this.flat
    if (!context) return
    const { width, height } = this.canvas
    const pixels = context.createImageData(width, height)
    for (let y = 0; y < height; y++) {
      const row = Math.floor((y / view.zoom + view.y) * this.scale)
      if (row < 0 || row >= this.rows) continue
      for (let x = 0; x < width; x++) {
        const column = Math.floor((x / view.zoom + view.x) * this.scale)
        if (column < 0 || column >= this.columns) continue
        const id = this.map[row * this.columns + column]!
        if (id) pixels.data.set(this.colours.subarray(id * 4, id * 4 + 4), (y * width + x) * 4)
      }
    }
    context.putImageData(pixels, 0, 0)
  }
}
