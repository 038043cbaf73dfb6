// A connection's life by the TypeScript client that openapi-typescript and openapi-fetch make of the API's description.
// `tests/e2e/test_clients.py` writes `schema.d.ts` beside it, compiles it with all checks, and runs it.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const PATIENCE = 300_000; // milliseconds for one step
const { API_URL, API_TOKEN, STRIPE_KEY, DATABASE_URL, SCHEMA } = process.env as Record<string, string>;
const api = createClient<paths>({ baseUrl: API_URL, headers: { Authorization: `Bearer ${API_TOKEN}` } });

function got<T>({ data, error }: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (data === undefined) throw new Error(error?.detail ?? "no answer");
  return data;
}
function insist(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Error(otherwise);
}
async function until<T>(look: () => Promise<T>, isOver: (seen: T) => boolean): Promise<T> {
  for (const end = Date.now() + PATIENCE; ; ) {
    const seen = await look();
    if (isOver(seen)) return seen;
    insist(Date.now() < end, `It takes too long: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
async function untilEnded(id: string): Promise<components["schemas"]["SyncDetailAnswer"]> {
  const look = async () => got(await api.GET("/v1/syncs/{id}", { params: { path: { id } } }));
  const sync = await until(look, ({ status }) => status !== "queued" && status !== "running");
  insist(sync.status === "succeeded", `${id} has ${sync.status}: ${sync.cause}`);
  return sync;
}

const place = { name: "Rows", url: DATABASE_URL, schema: SCHEMA, deleted_rows: "marked" as const };
const destination = got(await api.POST("/v1/destinations", { body: place }));
const wanted = { api_key: STRIPE_KEY, destination_ids: [destination.id], start_date: "2020-01-31" };
const once = { header: { "Idempotency-Key": "once" } };
const connection = got(await api.POST("/v1/connections", { params: once, body: wanted }));
const again = got(await api.POST("/v1/connections", { params: once, body: wanted }));
insist(again.id === connection.id, "The same request was carried out twice.");
insist(connection.start_date === "2020-01-31T00:00:00Z", `The start date is ${connection.start_date}.`);
const path = { id: connection.id };
const backfill = got(await api.GET("/v1/connections/{id}", { params: { path } })).backfill;
await untilEnded(backfill?.id ?? "");
const listed = async () => got(await api.GET("/v1/connections")).data.map(({ id }) => id);
insist((await listed()).join() === connection.id, "The list of connections is another.");
const sync = await api.POST("/v1/connections/{id}/syncs", { params: { path }, body: { resources: ["customer"] } });
await untilEnded(got(sync).id);
const query = { since: "2020-01-31", status: "succeeded" as const };
const kinds = got(await api.GET("/v1/syncs", { params: { query } })).data.map(({ kind }) => kind);
insist(kinds.includes("backfill") && kinds.includes("manual"), `The list of syncs is ${kinds}.`);
const full = await api.POST("/v1/connections/{id}/verify", { params: { path }, body: { full: true } });
const { comparison = [] } = await untilEnded(got(full).id);
insist(comparison.some(({ compared }) => compared > 0), "Verify has compared nothing.");
insist(comparison.every(({ different }) => different === 0), `Verify has found ${JSON.stringify(comparison)}.`);
const consent = { account_name: connection.account_name, delete_rows: true };
const removal = got(await api.POST("/v1/connections/{id}/removal", { params: { path }, body: consent }));
const look = async () => got(await api.GET("/v1/removals/{id}", { params: { path: { id: removal.id } } }));
await until(look, ({ is_done }) => is_done);
insist((await listed()).length === 0, "The connection is still listed.");
