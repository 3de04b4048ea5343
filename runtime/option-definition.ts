/** An option of a command as data, for code that defines options and knows no command. */
export interface OptionDefinition {
  /** `--name <value>`, or `--name` for a switch. */
  readonly flags: string;
  readonly description: string;
  /** The environment variable that sets it, too. */
  readonly variable: string;
  readonly byDefault?: string;
  /** Left out of the help. */
  readonly hidden?: true;
}
