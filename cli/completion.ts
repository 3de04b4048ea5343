/**
 * `millrace completion`: a script for the shell that asks `millrace complete` at each Tab, so that it never is behind the
 * program; and that command. The libraries for this are no longer kept (tabtab, omelette).
 */
import type { Command } from 'commander';
import { addClusterFlags } from './cluster/cluster-flags.ts';
import { complete, type Candidate } from './complete.ts';

export type Shell = 'bash' | 'zsh' | 'fish';

/** Where nothing fits, each shell goes on with the names of files. */
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

/** Prints a line for each candidate, with a tab before what it is. Never fails: a shell has no use for that. */
export async function printCandidates(program: Command, words: readonly string[]): Promise<void> {
  const found = complete(program, words);
  const all = found === 'pools' ? await poolNames(words) : found;
  process.stdout.write(
    all
      .map(({ text, about }) => (about === '' ? `${text}\n` : `${text}\t${about.split('\n')[0]}\n`))
      .join(''),
  );
}

/** Of the namespace and the cluster that the line names so far. */
async function poolNames(words: readonly string[]): Promise<Candidate[]> {
  try {
    const { Command: Plain } = await import('commander');
    const line = addClusterFlags(new Plain().allowUnknownOption().allowExcessArguments().exitOverride());
    line.parse(words.slice(0, -1), { from: 'user' });
    const [{ openCluster }, { readPools }] = await Promise.all([
      import('./cluster/cluster.ts'),
      import('./commands/pools.ts'),
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
