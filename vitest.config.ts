import { defineConfig } from 'vitest/config'

// Unit and property tests are quick; integration and e2e start a real Postgres and a real anvil once per file.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/ui/**', 'test/mcp/**', 'test/simulate/**', 'test/slow/**'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    globalSetup: ['test/support/postgres-global.ts'],
  },
})
