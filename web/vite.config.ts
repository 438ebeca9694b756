import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const client = new URL('../clients/js/src/', import.meta.url).pathname;

// `npm run dev` shows the pages as they are changed, with a server on its usual port.
const server = 'http://127.0.0.1:8005';

export default defineConfig({
  plugins: [react()],
  resolve: {
    alias: [
      { find: '@notification-server/client/react', replacement: `${client}react.ts` },
      { find: '@notification-server/client', replacement: `${client}index.ts` },
    ],
    dedupe: ['react'],
  },
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { '/v1': server, '/mcp': server, '/openapi.json': server } },
});
