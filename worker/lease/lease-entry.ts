/** Where the code of the lease thread is. The bundler replaces this module with one that carries the code itself. */
export const entry: { readonly code: string | URL; readonly eval: boolean } = {
  // .ts in a checkout, .js where this was built
  code: new URL(
    `./lease-thread${import.meta.filename.slice(import.meta.filename.lastIndexOf('.'))}`,
    import.meta.url,
  ),
  eval: false,
};
