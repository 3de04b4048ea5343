/** The documents: every link has a target, and the reference matches the code. */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { fieldsPage, keysPage } from '../../scripts/reference.ts';

const root = resolve(import.meta.dirname, '../..');
const documents = [
  'README.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...globSync('{docs,examples}/**/*.md', { cwd: root }),
];
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(file: string): Set<string> {
  const headings = withoutCode(read(file)).matchAll(/^#+ (.+)$/gm);
  return new Set(
    Array.from(headings, ([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Code holds brackets that are no links, and comments that are no headings. */
function withoutCode(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```/gm, '');
}

/** What is wrong with the relative links of a document. */
function brokenLinks(file: string, text = read(file)): string[] {
  const links = withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g);
  return Array.from(links, ([, link = '']) => link).flatMap((link) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? file : relative(root, resolve(root, dirname(file), path));
    if (!existsSync(join(root, target))) return [`${file}: ${link} leads nowhere`];
    const isDocument = statSync(join(root, target)).isFile() && target.endsWith('.md');
    if (anchor === undefined || (isDocument && anchorsOf(target).has(anchor))) return [];
    return [`${file}: ${link} has no such heading`];
  });
}

test('links lead to files and headings that are there', () => {
  expect(documents.length).toBeGreaterThan(20);
  expect(documents.flatMap((file) => brokenLinks(file))).toEqual([]);
});

test.each([
  ['[a](nowhere.md)', 'docs/README.md: nowhere.md leads nowhere'],
  ['[a](tuning.md#nothing)', 'docs/README.md: tuning.md#nothing has no such heading'],
])('a broken link is found: %s', (text, trouble) => {
  expect(brokenLinks('docs/README.md', text)).toEqual([trouble]);
});

/** Folders that git does not know: what is in them is made. */
const MADE = new Set(['dist', 'out', 'node_modules']);
const folders = new Set(
  globSync('{*,.*}/', { cwd: root })
    .map((folder) => folder.replace(/\/$/, ''))
    .filter((name) => !MADE.has(name)),
);
const fileNames = new Set(
  globSync(
    `{${[...folders].filter((name) => !name.startsWith('.git')).join(',')}}/**/*.{ts,tsx,lua,cjs,sh}`,
    {
      cwd: root,
    },
  ).map((path) => basename(path)),
);

/**
 * Paths in backquotes that lead nowhere: from the root or from the document, those that begin with a folder of this
 * repository; a bare `name.ts` must be the name of a file somewhere.
 */
function lostPaths(file: string, text = read(file)): string[] {
  return Array.from(withoutCode(text).matchAll(/`([^`\s]+)`/g), ([, path = '']) => path).filter((path) => {
    if (!path.includes('/')) return /^[\w-]+\.(ts|tsx|lua|cjs)$/.test(path) && !fileNames.has(path);
    if (!/^[\w.-]+(\/[\w.*-]+)*\/?$/.test(path) || !folders.has(path.split('/')[0] ?? '')) return false;
    return globSync([path, join(dirname(file), path)], { cwd: root }).length === 0;
  });
}

const describing = documents.filter((file) => /^[A-Z]+\.md$|^docs\/[\w-]+\.md$/.test(file));

test.each(describing)('%s names files that are there', (file) => {
  expect(lostPaths(file)).toEqual([]);
});

test('a path that leads nowhere is found, and other text is ignored', () => {
  const text =
    '`queue/keys.ts` `queue/nokeys.ts` `nokeys.ts` `keys.ts` `queue/` `test/nowhere/` `dist/bundle` `a/b` `x.y` `*/5`';
  expect(lostPaths('docs/glossary.md', text)).toEqual(['queue/nokeys.ts', 'nokeys.ts', 'test/nowhere/']);
});

test('every page is found from the index', () => {
  const linked = new Set(
    Array.from(read('docs/README.md').matchAll(/\]\(([^)#\s]+)/g), ([, link = '']) => link),
  );
  const pages = globSync('*.md', { cwd: join(root, 'docs') }).filter((name) => name !== 'README.md');
  expect(pages.filter((name) => !linked.has(name))).toEqual([]);
  const questions = read('docs/questions/README.md');
  const asked = globSync('*.md', { cwd: join(root, 'docs/questions') });
  expect(asked.filter((name) => name !== 'README.md' && !questions.includes(`(${name})`))).toEqual([]);
});

test.each([
  ['docs/reference/fields.md', fieldsPage],
  ['docs/reference/keys.md', keysPage],
])('%s is what `npm run docs` writes', (file, page) => {
  expect(read(file) === page(), `${file} is not current: npm run docs`).toBe(true);
});

test('every file that the page of guarantees names as a proof is there', () => {
  const proofs = [...read('docs/guarantees.md').matchAll(/`(test\/[\w/-]+\.test\.ts)`/g)].map(
    ([, name = '']) => name,
  );
  expect(proofs.length).toBeGreaterThan(10);
  expect(proofs.filter((name) => !existsSync(join(root, name)))).toEqual([]);
});
