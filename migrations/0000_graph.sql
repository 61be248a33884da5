CREATE SEQUENCE "public"."entity_id" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;--> statement-breakpoint
CREATE TABLE "anchor" (
	"seq" bigint PRIMARY KEY NOT NULL,
	"size" bigint NOT NULL,
	"root" "bytea" NOT NULL,
	"previous_size" bigint NOT NULL,
	"chain_hash" "bytea" NOT NULL,
	"block" bigint NOT NULL,
	"block_hash" "bytea" NOT NULL,
	"time" bigint NOT NULL,
	"tx" "bytea" NOT NULL,
	"log_index" integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE "anchor_tx" (
	"hash" "bytea" PRIMARY KEY NOT NULL,
	"nonce" bigint NOT NULL,
	"size" bigint NOT NULL,
	"root" "bytea" NOT NULL,
	"max_fee_per_gas" text NOT NULL,
	"max_priority_fee_per_gas" text NOT NULL,
	"sent_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "attestation" (
	"submission" bigint NOT NULL,
	"validator" bigint NOT NULL,
	"valid" boolean NOT NULL,
	"block" bigint NOT NULL,
	"log_index" integer NOT NULL,
	"tx" "bytea" NOT NULL,
	CONSTRAINT "attestation_submission_validator_pk" PRIMARY KEY("submission","validator")
);
--> statement-breakpoint
CREATE TABLE "block" (
	"number" bigint PRIMARY KEY NOT NULL,
	"hash" "bytea" NOT NULL,
	"parent_hash" "bytea" NOT NULL,
	"time" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "checkpoint" (
	"size" bigint PRIMARY KEY NOT NULL,
	"root" "bytea" NOT NULL,
	"note" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "contributor" (
	"id" bigint PRIMARY KEY DEFAULT nextval('entity_id') NOT NULL,
	"account" "bytea" NOT NULL,
	"block" bigint NOT NULL,
	CONSTRAINT "contributor_account_unique" UNIQUE("account")
);
--> statement-breakpoint
CREATE TABLE "contributor_key" (
	"contributor" bigint NOT NULL,
	"key_index" bigint NOT NULL,
	"key_id" "bytea" NOT NULL,
	"public_key" "bytea" NOT NULL,
	"possession" "bytea" NOT NULL,
	"possession_valid" boolean NOT NULL,
	"block" bigint NOT NULL,
	"log_index" integer NOT NULL,
	"revoked_block" bigint,
	CONSTRAINT "contributor_key_contributor_key_index_pk" PRIMARY KEY("contributor","key_index")
);
--> statement-breakpoint
CREATE TABLE "cursor" (
	"singleton" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"head_number" bigint NOT NULL,
	"head_hash" "bytea" NOT NULL,
	"head_time" bigint NOT NULL,
	"final_number" bigint NOT NULL,
	"final_hash" "bytea" NOT NULL,
	"final_time" bigint NOT NULL,
	CONSTRAINT "cursor_singleton" CHECK ("cursor"."singleton")
);
--> statement-breakpoint
CREATE TABLE "dataset" (
	"id" bigint PRIMARY KEY DEFAULT nextval('entity_id') NOT NULL,
	"name" text NOT NULL,
	"block" bigint NOT NULL,
	CONSTRAINT "dataset_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "dataset_version" (
	"dataset" bigint NOT NULL,
	"version" bigint NOT NULL,
	"schema_sha256" "bytea" NOT NULL,
	"schema" "bytea" NOT NULL,
	"schema_name" text,
	"problem" text,
	"block" bigint NOT NULL,
	"log_index" integer NOT NULL,
	CONSTRAINT "dataset_version_dataset_version_pk" PRIMARY KEY("dataset","version")
);
--> statement-breakpoint
CREATE TABLE "deployment" (
	"singleton" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"chain" text NOT NULL,
	"registry" "bytea" NOT NULL,
	"anchor" "bytea" NOT NULL,
	"origin" text NOT NULL,
	"start_block" bigint NOT NULL,
	"start_hash" "bytea" NOT NULL,
	CONSTRAINT "deployment_singleton" CHECK ("deployment"."singleton")
);
--> statement-breakpoint
CREATE TABLE "edge" (
	"src" bigint NOT NULL,
	"kind" smallint NOT NULL,
	"dst" bigint NOT NULL,
	"block" bigint NOT NULL,
	CONSTRAINT "edge_src_kind_dst_pk" PRIMARY KEY("src","kind","dst")
);
--> statement-breakpoint
CREATE TABLE "leaf" (
	"index" bigint PRIMARY KEY NOT NULL,
	"submission" bigint NOT NULL,
	"entry" "bytea" NOT NULL,
	CONSTRAINT "leaf_submission_unique" UNIQUE("submission")
);
--> statement-breakpoint
CREATE TABLE "leaf_policy" (
	"first_index" bigint PRIMARY KEY NOT NULL,
	"hash" "bytea" NOT NULL,
	"block" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "log_head" (
	"singleton" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"size" bigint NOT NULL,
	"root" "bytea" NOT NULL,
	CONSTRAINT "log_head_singleton" CHECK ("log_head"."singleton")
);
--> statement-breakpoint
CREATE TABLE "payload" (
	"sha256" "bytea" PRIMARY KEY NOT NULL,
	"bytes" "bytea" NOT NULL,
	"contributor" "bytea",
	"stored_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "receipt_signature" (
	"index" bigint PRIMARY KEY NOT NULL,
	"key_id" "bytea" NOT NULL,
	"signature" "bytea" NOT NULL
);
--> statement-breakpoint
CREATE TABLE "retrieval" (
	"submission" bigint PRIMARY KEY NOT NULL,
	"attempts" integer NOT NULL,
	"what" text,
	"detail" text,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "sensor" (
	"id" bigint PRIMARY KEY DEFAULT nextval('entity_id') NOT NULL,
	"name" text NOT NULL,
	"dataset" bigint NOT NULL,
	"contributor" bigint NOT NULL,
	"h3" bigint NOT NULL,
	"block" bigint NOT NULL,
	CONSTRAINT "sensor_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "submission" (
	"id" bigint PRIMARY KEY DEFAULT nextval('entity_id') NOT NULL,
	"submission_id" "bytea" NOT NULL,
	"contributor" bigint NOT NULL,
	"sensor" bigint NOT NULL,
	"dataset" bigint NOT NULL,
	"schema_sha256" "bytea" NOT NULL,
	"payload_sha256" "bytea" NOT NULL,
	"payload_bytes" integer NOT NULL,
	"uri" "bytea" NOT NULL,
	"key_id" "bytea" NOT NULL,
	"nonce" bigint NOT NULL,
	"quorum" integer NOT NULL,
	"submitted_block" bigint NOT NULL,
	"submitted_log" integer NOT NULL,
	"submitted_tx" "bytea" NOT NULL,
	"submitted_time" bigint NOT NULL,
	"index" bigint,
	"seq" bigint,
	"outcome" smallint,
	"record" "bytea",
	"acc" "bytea",
	"settled_block" bigint,
	"settled_hash" "bytea",
	"settled_log" integer,
	"settled_tx" "bytea",
	"settled_time" bigint,
	"verdict" text,
	"reason" text,
	"observed" boolean DEFAULT false NOT NULL,
	"judgement" jsonb,
	"signed_sha256" "bytea",
	CONSTRAINT "submission_submission_id_unique" UNIQUE("submission_id"),
	CONSTRAINT "submission_index_unique" UNIQUE("index")
);
--> statement-breakpoint
CREATE TABLE "tile" (
	"level" smallint NOT NULL,
	"index" bigint NOT NULL,
	"hashes" "bytea" NOT NULL,
	CONSTRAINT "tile_level_index_pk" PRIMARY KEY("level","index")
);
--> statement-breakpoint
CREATE TABLE "validator" (
	"contributor" bigint NOT NULL,
	"since_block" bigint NOT NULL,
	"since_log" integer NOT NULL,
	"until_block" bigint,
	CONSTRAINT "validator_contributor_since_block_since_log_pk" PRIMARY KEY("contributor","since_block","since_log")
);
--> statement-breakpoint
ALTER TABLE "attestation" ADD CONSTRAINT "attestation_submission_submission_id_fk" FOREIGN KEY ("submission") REFERENCES "public"."submission"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "attestation" ADD CONSTRAINT "attestation_validator_contributor_id_fk" FOREIGN KEY ("validator") REFERENCES "public"."contributor"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "contributor_key" ADD CONSTRAINT "contributor_key_contributor_contributor_id_fk" FOREIGN KEY ("contributor") REFERENCES "public"."contributor"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "dataset_version" ADD CONSTRAINT "dataset_version_dataset_dataset_id_fk" FOREIGN KEY ("dataset") REFERENCES "public"."dataset"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "leaf" ADD CONSTRAINT "leaf_submission_submission_id_fk" FOREIGN KEY ("submission") REFERENCES "public"."submission"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "retrieval" ADD CONSTRAINT "retrieval_submission_submission_id_fk" FOREIGN KEY ("submission") REFERENCES "public"."submission"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sensor" ADD CONSTRAINT "sensor_dataset_dataset_id_fk" FOREIGN KEY ("dataset") REFERENCES "public"."dataset"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sensor" ADD CONSTRAINT "sensor_contributor_contributor_id_fk" FOREIGN KEY ("contributor") REFERENCES "public"."contributor"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "submission" ADD CONSTRAINT "submission_contributor_contributor_id_fk" FOREIGN KEY ("contributor") REFERENCES "public"."contributor"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "submission" ADD CONSTRAINT "submission_sensor_sensor_id_fk" FOREIGN KEY ("sensor") REFERENCES "public"."sensor"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "submission" ADD CONSTRAINT "submission_dataset_dataset_id_fk" FOREIGN KEY ("dataset") REFERENCES "public"."dataset"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "validator" ADD CONSTRAINT "validator_contributor_contributor_id_fk" FOREIGN KEY ("contributor") REFERENCES "public"."contributor"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "anchor_size" ON "anchor" USING btree ("size");--> statement-breakpoint
CREATE INDEX "anchor_block" ON "anchor" USING btree ("block");--> statement-breakpoint
CREATE INDEX "attestation_block" ON "attestation" USING btree ("block");--> statement-breakpoint
CREATE INDEX "contributor_key_id" ON "contributor_key" USING btree ("key_id");--> statement-breakpoint
CREATE INDEX "dataset_version_schema" ON "dataset_version" USING btree ("schema_sha256");--> statement-breakpoint
CREATE INDEX "edge_reverse" ON "edge" USING btree ("dst","kind","src");--> statement-breakpoint
CREATE INDEX "edge_block" ON "edge" USING btree ("block");--> statement-breakpoint
CREATE INDEX "sensor_contributor" ON "sensor" USING btree ("contributor");--> statement-breakpoint
CREATE INDEX "submission_contributor" ON "submission" USING btree ("contributor","id");--> statement-breakpoint
CREATE INDEX "submission_sensor" ON "submission" USING btree ("sensor","id");--> statement-breakpoint
CREATE INDEX "submission_verdict" ON "submission" USING btree ("verdict","id");--> statement-breakpoint
CREATE INDEX "submission_reason" ON "submission" USING btree ("reason","id") WHERE "submission"."reason" is not null;--> statement-breakpoint
CREATE INDEX "submission_submitted_block" ON "submission" USING btree ("submitted_block");--> statement-breakpoint
CREATE INDEX "submission_settled_block" ON "submission" USING btree ("settled_block");--> statement-breakpoint
CREATE INDEX "submission_payload" ON "submission" USING btree ("payload_sha256");--> statement-breakpoint
CREATE INDEX "submission_unjudged" ON "submission" USING btree ("index") WHERE "submission"."verdict" is null and "submission"."index" is not null;--> statement-breakpoint
CREATE INDEX "submission_pending" ON "submission" USING btree ("id") WHERE "submission"."index" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "submission_contributor_seq" ON "submission" USING btree ("contributor","seq");--> statement-breakpoint
CREATE INDEX "submission_signed" ON "submission" USING btree ("contributor","signed_sha256") WHERE "submission"."signed_sha256" is not null;