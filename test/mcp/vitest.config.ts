import { defineConfig } from 'vitest/config'

// The protocol's conformance suite, which starts a process for each of its runs: apart from the others, as it takes a minute.
export default defineConfig({
  test: {
    include: ['test/mcp/**/*.test.ts'],
    testTimeout: 240_000,
    hookTimeout: 60_000,
    maxWorkers: 1,
    globalSetup: ['test/support/postgres-global.ts'],
  },
})
