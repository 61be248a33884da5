CREATE TABLE "change" (
	"last" bigint PRIMARY KEY NOT NULL,
	"count" bigint NOT NULL,
	"items" text NOT NULL,
	"told_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "feed" (
	"singleton" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"name" text DEFAULT left(gen_random_uuid()::text, 8) NOT NULL,
	"last" bigint DEFAULT 0 NOT NULL,
	"final" bigint DEFAULT 0 NOT NULL,
	"logged" bigint DEFAULT 0 NOT NULL,
	"anchored" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "feed_singleton" CHECK ("feed"."singleton")
);
--> statement-breakpoint
-- Written once and read a few times: not worth the time of compressing it.
ALTER TABLE "change" ALTER COLUMN "items" SET STORAGE EXTERNAL;
