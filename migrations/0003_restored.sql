CREATE TABLE "restored_checkpoint" (
	"size" bigint PRIMARY KEY NOT NULL,
	"root" "bytea" NOT NULL,
	"note" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "restored_leaf" (
	"index" bigint PRIMARY KEY NOT NULL,
	"entry" "bytea" NOT NULL
);
