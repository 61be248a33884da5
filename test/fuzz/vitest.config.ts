import { defineConfig } from 'vitest/config'

// The fuzzer of the API at full length; `npm test` runs a part of it. FUZZ_SEED chooses other requests.
export default defineConfig({
  test: {
    include: ['test/integration/api/fuzz.test.ts'],
    env: { FUZZ_REQUESTS: process.env['FUZZ_REQUESTS'] ?? '10000' },
    hookTimeout: 120_000,
    maxWorkers: 1,
    globalSetup: ['test/support/postgres-global.ts'],
  },
})
