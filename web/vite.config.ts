import { defineConfig } from 'vite'

// Names carry no hashes, so that a rebuild changes the contents of files and not their number; the server sends ETags.
export default defineConfig({
  base: './',
  build: {
    outDir: '../src/masklet/serve/page',
    emptyOutDir: true,
    modulePreload: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
  worker: { format: 'es', rollupOptions: { output: { entryFileNames: 'assets/[name].js' } } },
  server: { proxy: { '/v1': 'http://127.0.0.1:8765', '/health': 'http://127.0.0.1:8765' } },
})
