// A whole story with the typed client: pipeline, upload, job, review, export. The address is the argument.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

declare const process: { argv: string[] };

const client = createClient<paths>({ baseUrl: process.argv[2] });

function required<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const pipeline = required(
  await client.POST("/api/pipelines", {
    body: { name: "P", blocks: [{ type: "TextGenerator", config: { user_prompt: "Explain {{ topic }}" } }] },
  }),
);
const seeds = new Blob([JSON.stringify([{ metadata: { topic: "gravity" } }])]);
const started = required(
  await client.POST("/api/generate", {
    body: { file: "", pipeline_id: pipeline.id, fresh: false },
    bodySerializer: (body) => {
      const form = new FormData();
      form.append("file", seeds, "seeds.json");
      form.append("pipeline_id", String(body.pipeline_id));
      return form;
    },
  }),
);
const address = { params: { path: { job_id: started.job_id } } };
let job = required(await client.GET("/api/jobs/{job_id}", address));
for (let tries = 0; job.status !== "completed" && tries < 600; tries++) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  job = required(await client.GET("/api/jobs/{job_id}", address));
}
const [record] = required(await client.GET("/api/records", { params: { query: { job_id: job.id } } }));
required(
  await client.PUT("/api/records/{record_id}", {
    params: { path: { record_id: record.id } },
    body: { status: "accepted" },
  }),
);
const lines = await client.GET("/api/export", {
  params: { query: { job_id: job.id, status: ["accepted"] } },
  parseAs: "text",
});
const deleted = required(await client.DELETE("/api/records", { params: { query: { job_id: job.id } } }));
console.log(JSON.stringify({ status: job.status, output: record.output, lines: lines.data, deleted: deleted.deleted }));
