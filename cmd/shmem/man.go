package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// manCmd prints the man page, from what --help shows.
type manCmd struct{}

func (*manCmd) Help() string {
	return "docs/shmem.1 has it too. It is made from the help of the commands, and their examples."
}

func (*manCmd) Run(e *env, k *kong.Kong) error {
	_, err := io.WriteString(e.out, manPage(k.Model))
	return err
}

// roff escapes text for the man page.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// manHead is what stands before the description.
const manHead = `.\" Made by shmem man.
.TH SHMEM 1
.SH NAME
shmem \- see into shared memory
.SH SYNOPSIS
.B shmem
[\fIflags\fR] \fIcommand\fR [\fIarguments\fR]
.SH DESCRIPTION
`

// manPage is the whole page.
func manPage(app *kong.Application) string {
	var b strings.Builder
	b.WriteString(manHead)
	manText(&b, intro)
	b.WriteString(".SH FLAGS\n")
	manFlags(&b, app.Node)
	b.WriteString(".SH COMMANDS\n")
	for _, verb := range app.Children {
		if !verb.Hidden {
			manVerb(&b, verb)
		}
	}
	b.WriteString(".SH EXIT STATUS\n")
	manText(&b, exitCodes)
	b.WriteString(".SH ENVIRONMENT\n.TP\n.B SHMEM_DIR\nThe directory of the segments.\n" +
		".TP\n.B NO_COLOR\nNo colours, unless they are asked for.\n")
	return b.String()
}

// manText writes paragraphs. Lines that are indented stay as they are.
func manText(b *strings.Builder, text string) {
	for i, part := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		verbatim := strings.Contains("\n"+part, "\n  ")
		if verbatim {
			b.WriteString(".nf\n")
		}
		fmt.Fprintln(b, roff(part))
		if verbatim {
			b.WriteString(".fi\n")
		}
	}
}

func manVerb(b *strings.Builder, verb *kong.Node) {
	fmt.Fprintf(b, ".SS %s\n", roff(strings.TrimPrefix(verb.Summary(), "shmem ")))
	manText(b, verb.Help)
	if verb.Detail != "" {
		b.WriteString(".PP\n")
		manText(b, verb.Detail)
	}
	for _, arg := range verb.Positional {
		manEntry(b, arg.Summary(), arg.Help)
	}
	manFlags(b, verb)
	if all := examples[verb.Name]; len(all) > 0 {
		b.WriteString(".PP\nExamples:\n.PP\n.nf\n.RS\n")
		for _, line := range all {
			fmt.Fprintln(b, roff(line))
		}
		b.WriteString(".RE\n.fi\n")
	}
}

func manFlags(b *strings.Builder, n *kong.Node) {
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		name := "--" + f.Name
		if f.Short != 0 {
			name = "-" + string(f.Short) + ", " + name
		}
		if !f.IsBool() {
			name += "=" + f.FormatPlaceHolder()
		}
		manEntry(b, name, f.Help)
	}
}

func manEntry(b *strings.Builder, name, help string) {
	fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roff(name), roff(help))
}

// helpWithExamples prints the help of a command, and examples.
func helpWithExamples(o kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(o, ctx); err != nil {
		return err
	}
	if verb := ctx.Selected(); verb != nil && len(examples[verb.Name]) > 0 {
		fmt.Fprintf(ctx.Stdout, "\nExamples:\n  %s\n", strings.Join(examples[verb.Name], "\n  "))
	}
	return nil
}
