CREATE FUNCTION "api"."h3_center"("cell" text) RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
-- Latitude and longitude of a cell's centre in radians; null for what is no cell. Lattice points are pairs of steps along the axes i and j,
-- k being -i-j. The four tables are those of the H3 library, version 4: where base cells lie, which of them are pentagons, how the faces of
-- the icosahedron join, and where those are on the sphere.
DECLARE
  "base_face" CONSTANT integer[] := '{1,2,1,2,0,1,1,2,0,2,1,1,3,3,11,4,0,6,0,2,7,2,0,6,10,6,3,11,4,3,0,4,5,0,7,11,7,10,12,6,7,4,3,3,4,6,11,8,5,14,5,12,10,4,12,7,11,10,13,10,11,9,8,6,8,9,14,5,16,8,5,12,7,12,10,9,13,16,15,15,16,14,13,5,8,14,9,14,17,12,16,17,15,16,9,15,13,8,13,17,19,14,19,17,13,17,16,9,15,15,18,18,19,17,19,18,18,19,19,18,19,18}'::integer[];
  "base_i" CONSTANT integer[] := '{1,1,0,1,2,1,-1,0,1,0,0,-1,1,1,2,1,0,0,-1,-1,-1,-1,1,-1,2,0,0,1,1,0,-1,0,0,0,0,1,0,1,2,0,0,-1,-1,-1,0,1,0,-1,-1,2,0,1,1,-1,1,1,0,0,2,-1,-1,0,0,2,0,-1,1,0,-1,0,1,0,2,0,0,0,1,-1,-1,0,0,1,1,2,1,0,0,-1,-1,-1,0,-1,-1,0,1,0,0,2,0,0,0,0,-1,0,-1,0,1,2,0,1,-1,-1,-1,1,0,0,0,2,1,0,0,1}'::integer[];
  "base_j" CONSTANT integer[] := '{0,1,0,0,0,1,-1,0,0,1,1,0,0,1,0,0,0,1,-1,0,-1,-1,1,-1,0,0,0,0,1,1,0,0,1,1,1,1,0,0,0,-1,-1,-1,-1,0,1,0,0,-1,-1,0,0,0,1,0,1,0,1,0,0,-1,-1,1,1,0,0,-1,0,-1,0,-1,0,0,0,1,1,0,0,-1,0,1,1,1,1,0,0,0,-1,-1,-1,-1,0,0,-1,-1,0,0,0,0,1,-1,1,1,0,1,-1,0,0,0,-1,0,0,-1,-1,0,0,1,-1,0,0,0,-1,0}'::integer[];
  "pentagons" CONSTANT integer[] := '{4,14,24,38,49,58,63,72,83,97,107,117}'::integer[];
  "neighbours" CONSTANT integer[] := '{4,0,-2,1,1,2,2,5,5,-2,0,3,0,0,-2,1,2,2,2,5,6,-2,0,3,1,0,-2,1,3,2,2,5,7,-2,0,3,2,0,-2,1,4,2,2,5,8,-2,0,3,3,0,-2,1,0,2,2,5,9,-2,0,3,10,2,2,3,14,0,-2,3,0,-2,0,3,11,2,2,3,10,0,-2,3,1,-2,0,3,12,2,2,3,11,0,-2,3,2,-2,0,3,13,2,2,3,12,0,-2,3,3,-2,0,3,14,2,2,3,13,0,-2,3,4,-2,0,3,5,2,2,3,6,0,-2,3,15,-2,0,3,6,2,2,3,7,0,-2,3,16,-2,0,3,7,2,2,3,8,0,-2,3,17,-2,0,3,8,2,2,3,9,0,-2,3,18,-2,0,3,9,2,2,3,5,0,-2,3,19,-2,0,3,16,0,-2,1,19,2,2,5,10,-2,0,3,17,0,-2,1,15,2,2,5,11,-2,0,3,18,0,-2,1,16,2,2,5,12,-2,0,3,19,0,-2,1,17,2,2,5,13,-2,0,3,15,0,-2,1,18,2,2,5,14,-2,0,3}'::integer[];
  "face_latitude" CONSTANT double precision[] := '{0.80358264971899,1.307747883455638,1.054751253523952,0.6001915955381869,0.49171542819877384,0.17274532741561865,0.6059293215713506,0.4273705183289797,-0.07906611854921283,-0.23096164445538367,0.07906611854921283,0.23096164445538367,-0.17274532741561865,-0.6059293215713506,-0.4273705183289797,-0.6001915955381869,-0.49171542819877384,-0.80358264971899,-1.307747883455638,-1.054751253523952}'::double precision[];
  "face_longitude" CONSTANT double precision[] := '{1.2483974196173961,2.5369450098779214,-1.3475173589003966,-0.4506039094697558,0.40198820291130694,1.6781468852804338,2.9539233298124117,-1.8888762003362853,-0.7334295133808677,0.506495587332349,2.4081631402089254,-2.635097066257444,-1.4634457683093596,-0.1876693237773816,1.2527164532535078,2.6909887441200375,-2.7396044506784865,-1.8931952339723972,-0.6046476437118723,1.7940752946893965}'::double precision[];
  "face_azimuth" CONSTANT double precision[] := '{5.619958268523939882,5.760339081714187279,0.780213654393430055,0.430469363979999913,6.130269123335111400,2.692877706530642877,2.982963003477243874,3.532912002790141181,3.494305004259568154,3.003214169499538391,5.930472956509811562,0.138378484090254847,0.448714947059150361,0.158629650112549365,5.891865957979238535,2.711123289609793325,3.294508837434268316,3.804819692245439833,3.664438879055192436,2.361378999196363184}'::double precision[];
  "bits" CONSTANT bigint := "api"."h3_bits"("cell");
  "resolution" integer;
  "base" integer;
  "pentagon" boolean;
  "digit" integer;
  "leading" integer := 0;
  "rotate" boolean;
  "face" integer;
  "i" bigint;
  "j" bigint;
  "k" bigint;
  "t" bigint;
  "fine" integer;
  "most" bigint;
  "at" integer;
  "moved" boolean := false;
  "x" double precision;
  "y" double precision;
  "r" double precision;
  "theta" double precision;
  "latitude" double precision;
BEGIN
  IF "bits" IS NULL OR ("bits" >> 56) & 255 <> 8 THEN RETURN NULL; END IF;
  "resolution" := ("bits" >> 52) & 15;
  "base" := ("bits" >> 45) & 127;
  IF "base" > 121 THEN RETURN NULL; END IF;
  "pentagon" := "base" = ANY ("pentagons");
  FOR "n" IN 1.."resolution" LOOP
    "digit" := ("bits" >> (45 - 3 * "n")) & 7;
    IF "digit" = 7 THEN RETURN NULL; END IF;
    IF "leading" = 0 THEN "leading" := "digit"; END IF;
  END LOOP;
  -- A pentagon lacks one of the six directions; what lies beyond the gap is turned by one.
  IF "pentagon" AND "leading" = 1 THEN RETURN NULL; END IF;
  "rotate" := "pentagon" AND "leading" = 5;
  "face" := "base_face"["base" + 1];
  "i" := "base_i"["base" + 1];
  "j" := "base_j"["base" + 1];
  "moved" := "pentagon" OR ("resolution" > 0 AND ("i" <> 0 OR "j" <> 0));
  FOR "n" IN 1.."resolution" LOOP
    -- Each resolution is seven times as fine and turned a little, to one side and back.
    "t" := "i";
    IF "n" % 2 = 1 THEN
      "i" := 2 * "t" + "j";
      "j" := 3 * "j" - "t";
    ELSE
      "i" := 3 * "t" - "j";
      "j" := "t" + 2 * "j";
    END IF;
    "digit" := ("bits" >> (45 - 3 * "n")) & 7;
    IF "rotate" AND "digit" > 0 THEN "digit" := ('{3,6,2,5,1,4}'::integer[])["digit"]; END IF;
    -- The digit's three bits are a step along i, j and k.
    "i" := "i" + ("digit" >> 2) - ("digit" & 1);
    "j" := "j" + (("digit" >> 1) & 1) - ("digit" & 1);
  END LOOP;
  IF "moved" THEN
    "fine" := "resolution" + "resolution" % 2;
    IF "fine" > "resolution" THEN
      "t" := "i";
      "i" := 3 * "t" - "j";
      "j" := "t" + 2 * "j";
    END IF;
    "most" := 2 * (7 ^ ("fine" / 2))::bigint;
    "moved" := false;
    LOOP
      "k" := LEAST("i", "j", 0);
      EXIT WHEN "i" + "j" - 3 * "k" <= "most";
      -- Beyond the face's edge: the same point as seen from the face that lies there.
      IF "k" = 0 THEN
        "at" := 0;
      ELSIF "j" > "k" THEN
        "at" := 2;
      ELSE
        "at" := 1;
        IF "pentagon" AND "leading" = 4 AND NOT "moved" THEN
          "t" := "i" - "most";
          "i" := "j" + "most";
          "j" := "j" - "t";
        END IF;
      END IF;
      "at" := 12 * "face" + 4 * "at";
      "face" := "neighbours"["at" + 1];
      FOR "n" IN 1.."neighbours"["at" + 4] LOOP
        "t" := "i";
        "i" := "t" - "j";
        "j" := "t";
      END LOOP;
      "i" := "i" + "neighbours"["at" + 2] * "most" / 2;
      "j" := "j" + "neighbours"["at" + 3] * "most" / 2;
      "moved" := true;
      EXIT WHEN NOT "pentagon";
    END LOOP;
    IF "fine" > "resolution" THEN
      "t" := "i";
      "i" := (2 * "t" + "j") / 7;
      "j" := (3 * "j" - "t") / 7;
    END IF;
  END IF;
  -- From the plane of the face to the sphere.
  "x" := "i" - "j" / 2.0::double precision;
  "y" := "j" * 0.8660254037844386467637231707529361834714::double precision;
  "r" := sqrt("x" * "x" + "y" * "y");
  IF "r" = 0 THEN RETURN ARRAY["face_latitude"["face" + 1], "face_longitude"["face" + 1]]; END IF;
  "theta" := atan2("y", "x");
  IF "resolution" % 2 = 1 THEN "theta" := "theta" + 0.333473172251832115336090755351601070065900389::double precision; END IF;
  "theta" := "face_azimuth"["face" + 1] - "theta";
  "r" := atan("r" * 0.38196601125010500003::double precision / sqrt(7::double precision) ^ "resolution");
  "x" := "face_latitude"["face" + 1];
  "latitude" := asin(GREATEST(-1, LEAST(1, sin("x") * cos("r") + cos("x") * sin("r") * cos("theta"))));
  RETURN ARRAY["latitude", "face_longitude"["face" + 1]
    + atan2(sin("theta") * sin("r") * cos("x"), cos("r") - sin("x") * sin("latitude"))];
END $$;--> statement-breakpoint
CREATE FUNCTION "api"."h3_latitude"("cell" text) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN degrees(("api"."h3_center"("cell"))[1]);--> statement-breakpoint
COMMENT ON FUNCTION "api"."h3_latitude"(text) IS 'Latitude of the centre of an H3 cell in degrees; null for what is no cell';--> statement-breakpoint
CREATE FUNCTION "api"."h3_longitude"("cell" text) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN degrees(atan2(sin(("api"."h3_center"("cell"))[2]), cos(("api"."h3_center"("cell"))[2])));--> statement-breakpoint
COMMENT ON FUNCTION "api"."h3_longitude"(text) IS 'Longitude of the centre of an H3 cell in degrees, -180 to 180; null for what is no cell';--> statement-breakpoint
CREATE FUNCTION "api"."h3_metres"("a" double precision[], "b" double precision[]) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 2 * 6371007.180918475 * asin(LEAST(1 + 0 * "a"[1] * "b"[1], sqrt(sin(("b"[1] - "a"[1]) / 2) ^ 2 + cos("a"[1]) * cos("b"[1]) * sin(("b"[2] - "a"[2]) / 2) ^ 2)));--> statement-breakpoint
CREATE FUNCTION "api"."h3_distance"("a" text, "b" text) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN "api"."h3_metres"("api"."h3_center"("a"), "api"."h3_center"("b"));--> statement-breakpoint
COMMENT ON FUNCTION "api"."h3_distance"(text, text) IS 'Metres along the great circle between the centres of two H3 cells; null where one is no cell';