/**
 * `millrace completion`: a shell script that calls `millrace complete` at each Tab, so that it is always in step with the program;
 * and that command. The libraries for this are unmaintained (tabtab, omelette).
 */
import type { Command } from 'commander';
import { addClusterFlags } from '../cluster/cluster-flags.ts';
import { complete, type Candidate } from './complete.ts';

export type Shell = 'bash' | 'zsh' | 'fish';

/** If nothing matches, each shell completes file names. */
const SCRIPTS: Record<Shell, string> = {
  bash: `# bash: source <(millrace completion bash)
_millrace() {
  local IFS=$'\\n'
  COMPREPLY=($(millrace complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _millrace millrace
`,
  zsh: `#compdef millrace
# zsh: source <(millrace completion zsh)
_millrace() {
  local -a found
  found=(\${(f)"$(millrace complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null | sed -e 's/:/\\\\:/g' -e 's/\\t/:/')"})
  if (( \${#found} )); then _describe millrace found; else _files; fi
}
compdef _millrace millrace
`,
  fish: `# fish: millrace completion fish | source
function __millrace
  set -l words (commandline -opc) (commandline -ct)
  millrace complete -- $words[2..] 2>/dev/null
end
complete -c millrace -n 'count (__millrace)' -f -a '(__millrace)'
`,
};

export function printCompletion(shell: Shell): void {
  process.stdout.write(SCRIPTS[shell]);
}

/** Prints a line for each candidate, with its description after a tab. Never fails: a shell could not use an error. */
export async function printCandidates(program: Command, words: readonly string[]): Promise<void> {
  const found = complete(program, words);
  const all = found === 'pools' ? await poolNames(words) : found;
  process.stdout.write(
    all
      .map(({ text, about }) => (about === '' ? `${text}\n` : `${text}\t${about.split('\n')[0]}\n`))
      .join(''),
  );
}

/** Pools of the namespace and the cluster that the line names so far. */
async function poolNames(words: readonly string[]): Promise<Candidate[]> {
  try {
    const { Command: Plain } = await import('commander');
    const line = addClusterFlags(new Plain().allowUnknownOption().allowExcessArguments().exitOverride());
    line.parse(words.slice(0, -1), { from: 'user' });
    const [{ openCluster }, { readPools }] = await Promise.all([
      import('../cluster/cluster.ts'),
      import('./pools.ts'),
    ]);
    using cluster = openCluster(line.opts());
    const pools = await readPools(cluster, cluster.namespace);
    const current = words.at(-1) ?? '';
    const names = pools.map(({ metadata }) => metadata.name).filter((name) => name.startsWith(current));
    return names.toSorted().map((text) => ({ text, about: '' }));
  } catch {
    return [];
  }
}
